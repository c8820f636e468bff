//go:build !(pkcs11 && cgo)

package pkcs11

import (
	"context"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/key"
)

// Built reports whether the program is built with PKCS #11.
const Built = false

// KEK is a key in an HSM. In this build there is none.
type KEK struct{}

// Open says that this build has no PKCS #11.
func Open(Options) (*KEK, error) { return nil, ErrBuilt }

// Kind implements wrapped.KEK.
func (*KEK) Kind() kds.MasterKeyType { return kds.PKCS11 }

// Current implements wrapped.KEK.
func (*KEK) Current(context.Context) (string, error) { return "", ErrBuilt }

// Wrap implements wrapped.KEK.
func (*KEK) Wrap(context.Context, string, key.Key, []byte) ([]byte, error) { return nil, ErrBuilt }

// Unwrap implements wrapped.KEK.
func (*KEK) Unwrap(context.Context, string, []byte, []byte) (key.Key, error) {
	return key.Key{}, ErrBuilt
}

// Close implements io.Closer.
func (*KEK) Close() error { return nil }
