package billyfs_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-git/go-billy/v5"
	"github.com/go-git/go-billy/v5/util"
	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/storage/filesystem"

	"github.com/coffer-fs/coffer/fs/billyfs"
	memory "github.com/coffer-fs/coffer/fs/fstest"
	"github.com/coffer-fs/coffer/fs/iofs"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// shell runs git as users have it, away from their configuration.
func shell(t *testing.T, dir, script string) string {
	t.Helper()
	c := exec.Command("sh", "-ec", script)
	c.Dir = dir
	c.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null",
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.org", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.org")
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}

// origin makes a repository with git itself.
func origin(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	shell(t, dir, `
		git init -q -b main .
		mkdir -p src/deep
		for i in $(seq 200); do echo "file $i" >src/deep/$i; done
		echo 'echo hello' >run; chmod +x run; ln -s src/deep/7 link
		git add .; git commit -qm first
		git checkout -q -b other; git rm -rq src; git commit -qm "no source"
		git checkout -q main; git tag -am v1 v1; git gc -q`)
	return dir
}

// A repository in a volume: go-git clones it, commits and checks out, and git
// finds it sound.
func TestGit(t *testing.T) {
	from := origin(t)
	f := memory.Memory(t)
	root := billyfs.New(f)
	work, err := root.Chroot("repo")
	must(t, err)
	dot, err := work.Chroot(git.GitDirName)
	must(t, err)
	r, err := git.Clone(filesystem.NewStorage(dot, cache.NewObjectLRUDefault()), work, &git.CloneOptions{URL: from})
	must(t, err)
	w, err := r.Worktree()
	must(t, err)
	clean(t, w)

	must(t, w.Checkout(&git.CheckoutOptions{Branch: plumbing.NewRemoteReferenceName("origin", "other")}))
	if is, err := work.ReadDir("."); err != nil || len(is) != 3 { // .git, link, run
		t.Errorf("without source: %v, %v", is, err)
	}
	must(t, w.Checkout(&git.CheckoutOptions{Branch: plumbing.NewBranchReferenceName("ours"), Create: true}))
	must(t, util.WriteFile(work, "new/file", []byte("new\n"), 0o644))
	_, err = w.Add("new/file")
	must(t, err)
	hash, err := w.Commit("ours", &git.CommitOptions{Author: &object.Signature{Name: "b", Email: "b@example.org", When: time.Unix(1e9, 0)}})
	must(t, err)
	must(t, w.Checkout(&git.CheckoutOptions{Branch: plumbing.Main}))
	if target, err := work.Readlink("link"); err != nil || target != "src/deep/7" {
		t.Errorf("link to %q, %v", target, err)
	}
	if i, err := work.Stat("run"); err != nil || i.Mode()&0o100 == 0 {
		t.Errorf("run: %v, %v", i, err)
	}
	clean(t, w)

	out := filepath.Join(t.TempDir(), "copy")
	sub, err := iofs.New(f).Sub("repo/.git")
	must(t, err)
	must(t, os.CopyFS(out, sub))
	shell(t, out, "git fsck --strict --full")
	if got := shell(t, out, "git log --format=%H%s ours"); !strings.HasPrefix(got, hash.String()+"ours\n") {
		t.Errorf("git sees %q", got)
	}
}

// clean fails if the work tree is not what was checked out.
func clean(t *testing.T, w *git.Worktree) {
	t.Helper()
	s, err := w.Status()
	must(t, err)
	if !s.IsClean() {
		t.Errorf("not clean:\n%s", s)
	}
}

// Lock keeps out who has opened the file too, until it is unlocked or closed.
func TestLock(t *testing.T) {
	root := billyfs.New(memory.Memory(t))
	open := func() billy.File {
		f, err := root.OpenFile("locked", os.O_RDWR|os.O_CREATE, 0o600)
		must(t, err)
		return f
	}
	a, b := open(), open()
	must(t, a.Lock())
	locked := make(chan error)
	go func() { locked <- b.Lock() }()
	_, err := a.Write([]byte("first"))
	must(t, err)
	select {
	case err := <-locked:
		t.Fatalf("locked twice: %v", err)
	default:
	}
	must(t, a.Unlock())
	must(t, <-locked)
	go func() { locked <- a.Lock() }()
	must(t, b.Close())
	must(t, <-locked)
	must(t, a.Close())
}

func ExampleNew() {
	f, closeFS := memory.Example()
	defer closeFS()
	work, _ := billyfs.New(f).Chroot("notes")
	dot, _ := work.Chroot(".git")
	repo, _ := git.Init(filesystem.NewStorage(dot, cache.NewObjectLRUDefault()), work)
	_ = util.WriteFile(work, "todo", []byte("nothing\n"), 0o600)
	tree, _ := repo.Worktree()
	_, _ = tree.Add("todo")
	_, _ = tree.Commit("begin", &git.CommitOptions{Author: &object.Signature{Name: "me"}})
	status, _ := tree.Status()
	fmt.Println(status.IsClean())
	// Output: true
}
