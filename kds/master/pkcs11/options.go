//go:build pkcs11 && cgo

package pkcs11

import "fmt"

func (o Options) check() error {
	if o.Module == "" || o.Token == "" || o.Key == "" || o.PINFile == "" {
		return fmt.Errorf("%w: it needs a module, the labels of token and key, and a PIN file", ErrOptions)
	}
	return nil
}
