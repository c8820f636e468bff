package secretfile_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/coffer-fs/coffer/kds/internal/secretfile"
)

func fresh() []byte {
	b := make([]byte, 32)
	rand.Read(b)
	return b
}

func TestSameSecretForEver(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	var wg sync.WaitGroup
	secrets := make([][]byte, 8)
	for i := range secrets {
		wg.Go(func() {
			s, err := secretfile.LoadOrCreate(path, "a test secret", 32, fresh)
			if err != nil {
				t.Error(err)
			}
			secrets[i] = s
		})
	}
	wg.Wait()
	for _, s := range secrets {
		if len(s) != 32 || !bytes.Equal(s, secrets[0]) {
			t.Fatal("two openers got two secrets")
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) != 1 {
		t.Errorf("files left: %v, %v", left, err)
	}
}

// Every changed byte is damage, and never another secret.
func TestDamage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	secret, err := secretfile.LoadOrCreate(path, "a test secret", 32, fresh)
	if err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	try := func(b []byte) {
		t.Helper()
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := secretfile.LoadOrCreate(path, "a test secret", 32, fresh)
		if err == nil && bytes.Equal(got, secret) {
			return // a hexadecimal digit in the other case
		}
		if !errors.Is(err, secretfile.ErrDamaged) {
			t.Errorf("%q: %v", b, err)
		}
	}
	for i := range whole {
		b := bytes.Clone(whole)
		b[i] ^= 0x04
		try(b)
		try(whole[:i])
	}
	try(append(bytes.Clone(whole), "more"...))
	try(bytes.Repeat(whole, 1000))
}

func TestPermissionsAndKind(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	if _, err := secretfile.LoadOrCreate(path, "a test secret", 32, fresh); err != nil {
		t.Fatal(err)
	}
	if _, err := secretfile.LoadOrCreate(path, "another secret", 32, fresh); !errors.Is(err, secretfile.ErrDamaged) {
		t.Errorf("a file of another kind: %v", err)
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := secretfile.LoadOrCreate(path, "a test secret", 32, fresh); !errors.Is(err, secretfile.ErrPermissions) {
		t.Errorf("mode 0640: %v", err)
	}
	if _, err := secretfile.LoadOrCreate(t.TempDir(), "a test secret", 32, fresh); err == nil {
		t.Error("a directory was read as a secret")
	}
}

// What the host put there is read up to its bound, and no pipe is waited for.
func TestReadBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte("12345"), 0o600); err != nil {
		t.Fatal(err)
	}
	if b, err := secretfile.ReadBounded(path, 5); err != nil || string(b) != "12345" {
		t.Errorf("%q, %v", b, err)
	}
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for p, most := range map[string]int64{path: 4, pipe: 5, t.TempDir(): 5} {
		if _, err := secretfile.ReadBounded(p, most); !errors.Is(err, secretfile.ErrDamaged) {
			t.Errorf("%s: %v", p, err)
		}
	}
}
