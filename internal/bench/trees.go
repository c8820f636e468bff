package main

import (
	"fmt"
	"io/fs"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
)

func fileName(dir string, n int) string { return filepath.Join(dir, fmt.Sprintf("f%07d", n)) }

// goSrc is a real tree of many small files, and how many.
var goSrc = sync.OnceValues(func() (dir string, files float64) {
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		panic(err) // the bench is started by go run
	}
	dir = filepath.Join(strings.TrimSpace(string(out)), "src")
	return dir, countFiles(dir)
})

// gitSrc is the part of it that is put into a repository, which takes long.
var gitSrc = sync.OnceValues(func() (dir string, files float64) {
	dir, _ = goSrc()
	dir = filepath.Join(dir, "cmd")
	return dir, countFiles(dir)
})

func countFiles(dir string) (files float64) {
	err := filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			files++
		}
		return err
	})
	if err != nil {
		panic(err) // it was there when go was asked
	}
	return files
}

func copyTree(dir string) (float64, error) {
	_, files := goSrc()
	return files, prepareTree(dir)
}

func prepareTree(dir string) error {
	src, _ := goSrc()
	if err := in(dir, 0, "cp", "-a", src, dir); err != nil {
		return err
	}
	return settle(dir)
}

// walkTree runs a command in the tree.
func walkTree(args ...string) func(string) (float64, error) {
	return func(dir string) (float64, error) {
		_, files := goSrc()
		return files, in(dir, 1, args...)
	}
}

func removeTree(dir string) (float64, error) {
	_, files := goSrc()
	if err := in(dir, 0, "rm", "-rf", "src"); err != nil {
		return 0, err
	}
	return files, settle(dir)
}

// prepareRepository makes a git repository of a part of the tree.
func prepareRepository(dir string) error {
	src, _ := gitSrc()
	for _, args := range [][]string{
		{"cp", "-a", src, "repository"},
		{"git", "-C", "repository", "init", "-q"},
		{"git", "-C", "repository", "config", "gc.auto", "0"}, // nothing in the background
		{"git", "-C", "repository", "add", "-Af"},
		{"git", "-C", "repository", "-c", "user.name=b", "-c", "user.email=b@b", "commit", "-qm", "all"},
	} {
		if err := in(dir, 0, args...); err != nil {
			return err
		}
	}
	return settle(dir)
}

func gitStatus(dir string) (float64, error) {
	_, files := gitSrc()
	return files, in(dir, 0, "git", "-C", "repository", "status", "--porcelain")
}

func gitClone(dir string) (float64, error) {
	_, files := gitSrc()
	if err := in(dir, 0, "git", "clone", "-q", "--no-hardlinks", "repository", "clone"); err != nil {
		return 0, err
	}
	return files, settle(dir)
}
