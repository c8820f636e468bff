// Package softhsm makes tokens of SoftHSM2 for tests, in folders of their own.
//
// Imported by tests only.
package softhsm

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// modules are where Debian and others install SoftHSM2.
var modules = []string{
	"/usr/lib/softhsm/libsofthsm2.so",
	"/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
	"/usr/lib64/pkcs11/libsofthsm2.so",
	"/usr/lib64/libsofthsm2.so",
	"/usr/local/lib/softhsm/libsofthsm2.so",
}

// Module is the path of SoftHSM2, or the test fails.
func Module(t testing.TB) string {
	t.Helper()
	for _, path := range modules {
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	t.Fatal("these tests need SoftHSM2: apt-get install softhsm2")
	return ""
}

// Tokens is a folder of tokens.
type Tokens struct {
	// Conf is the configuration that SOFTHSM2_CONF names.
	Conf string
	// Folder is where the tokens are.
	Folder string
}

// New makes a folder of tokens, which this process and its children use from now
// on, and a token in it for each label.
func New(t *testing.T, pin string, labels ...string) *Tokens {
	t.Helper()
	dir := t.TempDir()
	s := &Tokens{Conf: filepath.Join(dir, "softhsm2.conf"), Folder: filepath.Join(dir, "tokens")}
	if err := os.Mkdir(s.Folder, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.Conf, []byte("directories.tokendir = "+s.Folder+"\nobjectstore.backend = file\nlog.level = ERROR\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SOFTHSM2_CONF", s.Conf)
	for _, label := range labels {
		out, err := exec.Command("softhsm2-util", "--init-token", "--free", "--label", label, "--pin", pin, "--so-pin", "so-"+pin).CombinedOutput()
		if err != nil {
			t.Fatalf("make token %q: %v: %s", label, err, out)
		}
	}
	return s
}
