//go:build pkcs11 && cgo

package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/coffer-fs/coffer/kds/master/pkcs11/softhsm"
)

// A node whose master key is wrapped in SoftHSM2: testdata/pkcs11.
func TestPKCS11(t *testing.T) {
	const pin = "28641753"
	tokens := softhsm.New(t, pin, "one", "two")
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "pkcs11"),
		Setup: func(e *testscript.Env) error {
			e.Setenv("SOFTHSM2_CONF", tokens.Conf)
			e.Setenv("TOKENS", tokens.Folder)
			e.Setenv("MODULE", softhsm.Module(t))
			return os.WriteFile(filepath.Join(e.WorkDir, "pin"), []byte(pin+"\n"), 0o600)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "node": node, "halt": halt, "damage": damage},
	})
}
