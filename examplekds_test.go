package coffer_test

import (
	"context"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/coffer-fs/coffer/kds/attest/platform"
	"github.com/coffer-fs/coffer/kds/audit"
	"github.com/coffer-fs/coffer/kds/audit/bolt"
	"github.com/coffer-fs/coffer/kds/master"
	"github.com/coffer-fs/coffer/kds/server"
)

// tempDir is removed after the last test: an example has no TempDir.
var tempDir string

func TestMain(m *testing.M) {
	var err error
	tempDir, err = os.MkdirTemp("", "coffer-example-")
	check(err)
	code := m.Run()
	check(os.RemoveAll(tempDir))
	os.Exit(code)
}

// exampleKDS starts a node on a simulated CPU, as coffer-kds serve does.
func exampleKDS() (dir, url string) {
	data := filepath.Join(tempDir, "kds")
	check(os.Mkdir(data, 0o700))
	p, err := platform.Open(platform.Sim, platform.Options{CPU: filepath.Join(tempDir, "cpu")})
	check(err)
	store, err := bolt.Open(filepath.Join(data, "audit.db"), bolt.Options{})
	check(err)
	signer, err := audit.SigningKey(p, data)
	check(err)
	log, err := audit.Open(context.Background(), store, signer, nil)
	check(err)
	mk, err := master.OpenDevelopment(data)
	check(err)
	node, err := server.New(server.Options{Platform: p, Verifier: platform.Verifier(p), Masters: []master.Provider{mk}, Audit: log})
	check(err)
	return tempDir, httptest.NewServer(node).URL
}
