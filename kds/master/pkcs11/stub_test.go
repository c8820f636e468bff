//go:build !(pkcs11 && cgo)

package pkcs11_test

import (
	"errors"
	"testing"

	"github.com/coffer-fs/coffer/kds/master/pkcs11"
)

// A build without the tag says so.
func TestNotBuilt(t *testing.T) {
	if k, err := pkcs11.Open(pkcs11.Options{}); !errors.Is(err, pkcs11.ErrBuilt) || k != nil {
		t.Error(err)
	}
}
