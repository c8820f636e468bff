//go:build pkcs11 && cgo

package pkcs11

import (
	"bytes"
	"fmt"
	"io"
	"os"
)

func (o Options) check() error {
	if o.Module == "" || o.Token == "" || o.Key == "" || o.PINFile == "" {
		return fmt.Errorf("%w: it needs a module, the labels of token and key, and a PIN file", ErrOptions)
	}
	return nil
}

// readPIN reads a PIN: the file's first and only line.
func readPIN(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPINFile, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPINFile, err)
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%w: %q has mode %04o, want a regular file of mode 0600", ErrPINFile, path, info.Mode().Perm())
	}
	b, err := io.ReadAll(io.LimitReader(f, MaxPINBytes+2))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPINFile, err)
	}
	pin := bytes.TrimSuffix(b, []byte("\n"))
	if len(pin) == 0 || len(pin) > MaxPINBytes || bytes.ContainsAny(pin, "\n\x00") {
		clear(b)
		return nil, fmt.Errorf("%w: %q does not hold one line of 1 to %d bytes", ErrPINFile, path, MaxPINBytes)
	}
	return pin, nil
}
