package layout_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// enclave is what EGo 1.9.0 reads of an enclave.json.
type enclave struct {
	Exe             string `json:"exe"`
	Key             string `json:"key"`
	Debug           *bool  `json:"debug"`
	HeapSize        int    `json:"heapSize"`
	ExecutableHeap  bool   `json:"executableHeap"`
	ProductID       int    `json:"productID"`
	SecurityVersion int    `json:"securityVersion"`
	Mounts          []struct {
		Source   string `json:"source"`
		Target   string `json:"target"`
		Type     string `json:"type"`
		ReadOnly bool   `json:"readOnly"`
	} `json:"mounts"`
	Env []struct {
		Name     string `json:"name"`
		Value    string `json:"value"`
		FromHost bool   `json:"fromHost"`
	} `json:"env"`
	Files []struct {
		Content string `json:"content"`
		Source  string `json:"source"`
		Target  string `json:"target"`
	} `json:"files"`
}

// enclaves are all of the repository, by the directory of their program.
func enclaves(t *testing.T) map[string]enclave {
	t.Helper()
	all := map[string]enclave{}
	for _, dir := range []string{"cmd/coffer-kds", "examples/journal"} {
		b, err := os.ReadFile(filepath.Join(root(t), dir, "enclave.json"))
		if err != nil {
			t.Fatal(err)
		}
		d := json.NewDecoder(bytes.NewReader(b))
		d.DisallowUnknownFields()
		var e enclave
		if err := d.Decode(&e); err != nil {
			t.Fatalf("%s/enclave.json: EGo does not know it: %v", dir, err)
		}
		all[dir] = e
	}
	return all
}

// What is signed is a release enclave: nobody looks into it, and nothing of the
// host's is where it takes what is measured.
func TestEnclaves(t *testing.T) {
	for dir, e := range enclaves(t) {
		switch {
		case e.Exe != filepath.Base(dir) || e.Key != "private.pem":
			t.Errorf("%s: program %q, key %q", dir, e.Exe, e.Key)
		case e.Debug == nil || *e.Debug:
			t.Errorf("%s: debug must be false, and be said", dir)
		case e.ExecutableHeap:
			t.Errorf("%s: the heap is executable", dir)
		case e.HeapSize < 512 || e.HeapSize > 4096:
			t.Errorf("%s: a heap of %d MiB: EGo wants 512 at least", dir, e.HeapSize)
		case e.ProductID < 1 || e.ProductID > 65535 || e.SecurityVersion < 1 || e.SecurityVersion > 65535:
			t.Errorf("%s: product %d, security version %d", dir, e.ProductID, e.SecurityVersion)
		}
		for _, v := range e.Env {
			if v.Name == "" || v.FromHost {
				t.Errorf("%s: variable %q comes from the host", dir, v.Name)
			}
		}
		for _, f := range e.Files {
			if f.Content != "" || f.Source == "" || !filepath.IsAbs(f.Target) {
				t.Errorf("%s: file %+v", dir, f)
			}
			for _, m := range e.Mounts {
				if within(f.Target, m.Target) || m.Target == "/" {
					t.Errorf("%s: the host mounts something over %q, which is measured", dir, f.Target)
				}
			}
		}
		for _, m := range e.Mounts {
			if m.Type != "hostfs" && m.Type != "memfs" || !filepath.IsAbs(m.Target) || within("/etc", m.Target) || within(m.Target, "/etc") {
				t.Errorf("%s: mount %+v", dir, m)
			}
		}
	}
}

// The node's configuration is measured where the node looks for it, and so are the
// authorities by which it knows Azure; the journal's is compiled in.
func TestEnclavesMeasureTheirConfiguration(t *testing.T) {
	node := enclaves(t)["cmd/coffer-kds"]
	embedded := map[string]string{}
	for _, f := range node.Files {
		embedded[f.Target] = f.Source
	}
	if embedded["/etc/coffer/node.hcl"] != "node.hcl" || embedded["/etc/ssl/certs/ca-certificates.crt"] == "" {
		t.Errorf("the node measures %v", embedded)
	}
	read := func(path string) string {
		b, err := os.ReadFile(filepath.Join(root(t), path))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	if !strings.Contains(read("kds/nodeconfig/nodeconfig.go"), `MeasuredFile = "/etc/coffer/node.hcl"`) {
		t.Error("the node takes its configuration from elsewhere")
	}
	if !strings.Contains(read("examples/journal/main.go"), "//go:embed enclave.hcl") {
		t.Error("the journal's configuration is not compiled in")
	}
}

// make ego says so where EGo is not installed, and ends well; where it is, it
// builds and signs both. EGo's tools are stood in for: what they do is not tested
// here, but what they are told.
func TestMakeEgo(t *testing.T) {
	tools := t.TempDir()
	run := func() string {
		c := exec.Command("scripts/ego.sh", "cmd/coffer-kds/node.hcl", "examples/journal/enclave.hcl", filepath.Join(tools, "none.pem"))
		c.Dir = copyOf(t)
		c.Env = append(os.Environ(), "PATH="+tools+":/usr/bin:/bin", "CALLS="+filepath.Join(tools, "calls"))
		out, err := c.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}
	if out := run(); !strings.Contains(out, "EGo is not installed") {
		t.Errorf("without EGo: %s", out)
	}
	stub := func(name, body string) {
		if err := os.WriteFile(filepath.Join(tools, name), []byte("#!/bin/sh\nset -e\necho \""+name+" $*\" >>\"$CALLS\"\n"+body), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	stub("ego-go", "while [ \"$1\" != -o ]; do shift; done\necho built >\"$2\"\n")
	stub("ego", "case $1 in sign) test -s \"$2\" && test -s \"${2%.json}\" && test -s node.hcl ;; *) echo \"$1 of $2\" ;; esac\n")
	out := run()
	for _, want := range []string{"coffer-kds  C:uniqueid of coffer-kds  S:signerid of coffer-kds", "journal  C:uniqueid of journal", "measures the example configuration"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in %s", want, out)
		}
	}
	calls, err := os.ReadFile(filepath.Join(tools, "calls"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"ego-go build -trimpath -buildvcs=false -o", "./cmd/coffer-kds\n", "./examples/journal\n", "ego sign coffer-kds.json\n", "ego sign journal.json\n"} {
		if !strings.Contains(string(calls), want) {
			t.Errorf("no %q in the calls:\n%s", want, calls)
		}
	}
}

// copyOf is what the script needs of the repository, elsewhere.
func copyOf(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, path := range []string{"scripts/ego.sh", "cmd/coffer-kds/enclave.json", "cmd/coffer-kds/node.hcl", "examples/journal/enclave.json", "examples/journal/enclave.hcl"} {
		b, err := os.ReadFile(filepath.Join(root(t), path))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, path)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, path), b, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
