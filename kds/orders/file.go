package orders

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/coffer-fs/coffer/kds/internal/secretfile"
	"github.com/coffer-fs/coffer/key"
)

// File is a Store in one file, for one process.
type File string

var _ Store = File("")

// Load implements Store.
func (f File) Load(context.Context) ([]byte, error) {
	info, err := os.Stat(string(f))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	case info.Size() > MaxBytes:
		return nil, fmt.Errorf("%w: %q has %d bytes", ErrMalformed, string(f), info.Size())
	}
	return os.ReadFile(string(f))
}

// Replace implements Store: written beside, synced, renamed.
func (f File) Replace(ctx context.Context, old, text []byte) error {
	now, err := f.Load(ctx)
	if err != nil {
		return err
	}
	if !bytes.Equal(now, old) {
		return fmt.Errorf("%q was changed by somebody else", string(f))
	}
	dir := filepath.Dir(string(f))
	tmp, err := os.CreateTemp(dir, ".orders-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(text)
	if err := errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	return errors.Join(os.Rename(tmp.Name(), string(f)), secretfile.SyncDir(dir))
}

const operatorTitle = "coffer operator key, version 1: whoever reads this file can act as the operator"

// OperatorKey reads an operator's key, and makes it if there is none. The file
// belongs on the operator's own machine.
func OperatorKey(path string) (ed25519.PrivateKey, error) {
	seed, err := secretfile.LoadOrCreate(path, operatorTitle, ed25519.SeedSize, func() []byte { return key.New().Bytes() })
	if err != nil {
		return nil, fmt.Errorf("open operator key: %w", err)
	}
	defer clear(seed)
	return ed25519.NewKeyFromSeed(seed), nil
}
