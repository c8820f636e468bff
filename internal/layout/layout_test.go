// Package layout_test keeps the promises that the tree makes about itself:
// imports point one way, release binaries link no fakes, and what is in the
// repository is about the product.
package layout_test

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const module = "github.com/coffer-fs/coffer"

// pkg is what go list says of a package.
type pkg struct {
	ImportPath string
	Imports    []string
	Deps       []string
}

// list returns packages of this module.
func list(t *testing.T, patterns ...string) []pkg {
	t.Helper()
	c := exec.Command("go", append([]string{"list", "-json=ImportPath,Imports,Deps"}, patterns...)...)
	c.Dir = root(t)
	c.Stderr = os.Stderr
	out, err := c.Output()
	if err != nil {
		t.Fatal(err)
	}
	var ps []pkg
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := d.Decode(&p); err == io.EOF {
			return ps
		} else if err != nil {
			t.Fatal(err)
		}
		ps = append(ps, p)
	}
}

func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// ours is the path of a package within the module, and whether it is in it.
func ours(path string) (string, bool) {
	if path == module {
		return ".", true
	}
	return strings.CutPrefix(path, module+"/")
}

// rules say which packages of ours a tree may import; each may also import
// what lies below itself, and key. docs/architecture.md draws them.
var rules = []struct {
	tree    string
	imports []string
}{
	{"key", nil},
	{"store/host", nil},
	{"store/host/s3/s3test", []string{"internal/freeaddr"}},
	{"store/seal", nil},
	{"store/tree", []string{"store/host"}},
	{"store", nil},
	{"fs", []string{"store"}},
	{"migrate", []string{"store", "fs", "kds"}},
	{"kds", nil},
	{"config", []string{"kds"}},
	{".", []string{"config", "fs", "store", "kds", "migrate"}},
	{"cmd/coffer-kds", []string{"kds"}},
	{"cmd/coffer", []string{".", "config", "control", "fs", "migrate", "store", "kds"}},
	{"control", nil},
	{"internal/bench", []string{"fs", "store", "migrate"}},
	{"internal/freeaddr", nil},
	{"internal/kdsload", []string{"kds"}},
	{"internal/layout", nil},
	{"internal/soak", nil},
	{"examples", []string{".", "config", "fs", "store", "kds", "migrate"}},
}

func TestImportsPointOneWay(t *testing.T) {
	for _, p := range list(t, "./...") {
		from, _ := ours(p.ImportPath)
		rule := -1
		for i, r := range rules {
			if within(from, r.tree) && (rule < 0 || len(r.tree) > len(rules[rule].tree)) {
				rule = i
			}
		}
		if rule < 0 {
			t.Errorf("package %s has no rule: add one, and draw it in docs/architecture.md", from)
			continue
		}
		for _, imp := range p.Imports {
			to, inside := ours(imp)
			if inside && to != "key" && !within(to, rules[rule].tree) && !allowed(to, rules[rule].imports) {
				t.Errorf("%s imports %s, which points against docs/architecture.md", from, to)
			}
		}
	}
}

// within reports whether a package lies in a tree. The root is a tree of one.
func within(path, tree string) bool {
	if tree == "." {
		return path == "."
	}
	return path == tree || strings.HasPrefix(path, tree+"/")
}

func allowed(to string, trees []string) bool {
	for _, tree := range trees {
		if within(to, tree) {
			return true
		}
	}
	return false
}

// The sides of the trust boundary: what runs in an enclave must not link what
// parses files of the machine, or talks to its kernel for it.
func TestTrustedSideLinksNoHost(t *testing.T) {
	forbidden := []string{"go.etcd.io/bbolt", "github.com/hanwen/go-fuse", module + "/store/host/local", module + "/store/host/serve", module + "/store/host/transfer", module + "/fs/mount"}
	for _, p := range list(t, ".", "./fs", "./store", "./store/host/remote", "./store/host/s3", "./migrate", "./kds", "./kds/server", "./kds/cluster", "./kds/audit", "./config", "./examples/...") {
		for _, dep := range p.Deps {
			for _, f := range forbidden {
				if dep == f || strings.HasPrefix(dep, f+"/") {
					t.Errorf("%s links %s", p.ImportPath, dep)
				}
			}
		}
	}
}

var fakes = regexp.MustCompile(`/(storetest|hosttest|faulthost|s3test|kdstest|anchortest|etcdtest|softhsm|azuretest|wrappedtest|dcaptest|fstest|crashtest)$|^testing$`)

func TestBinariesLinkNoFakes(t *testing.T) {
	for _, p := range list(t, "./cmd/...") {
		for _, dep := range p.Deps {
			if fakes.MatchString(dep) {
				t.Errorf("%s links %s", p.ImportPath, dep)
			}
		}
	}
}

// Every direct dependency is argued for in one line.
func TestDependenciesAreArgued(t *testing.T) {
	mod, err := os.ReadFile(filepath.Join(root(t), "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile(filepath.Join(root(t), "docs", "dependencies.md"))
	if err != nil {
		t.Fatal(err)
	}
	require := regexp.MustCompile(`(?m)^\s*(?:require )?([a-z0-9.-]+\.[a-z]+/\S+) v\S+$`)
	found := 0
	for _, m := range require.FindAllStringSubmatch(string(mod), -1) {
		found++
		if !strings.Contains(string(doc), "`"+m[1]+"`") {
			t.Errorf("docs/dependencies.md does not argue for %s", m[1])
		}
	}
	if found == 0 {
		t.Error("no direct dependency was found in go.mod")
	}
}
