package master

import (
	"context"
	"encoding/hex"
	"fmt"
	"path/filepath"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/internal/secretfile"
	"github.com/coffer-fs/coffer/key"
)

const (
	// DevelopmentFile is where the development master key is kept.
	DevelopmentFile = "development-master.key"

	developmentTitle = "coffer development master key, generation 1: whoever reads this file has every key"
	commitmentLabel  = "coffer/kds/v1/master commitment"
)

// Development is the master key of a laptop: one key in a file that its owner
// can read.
//
// It is not sealed to the platform. The file is a promise that the same key is
// there after each restart, rebuild and move of the node, and a simulated CPU
// could only pretend to seal it; that the host can read it is why the server
// never releases keys of this type to release enclaves.
type Development struct{ k key.Key }

// OpenDevelopment opens the development master key in dir, and makes it if
// there is none.
func OpenDevelopment(dir string) (*Development, error) {
	b, err := secretfile.LoadOrCreate(filepath.Join(dir, DevelopmentFile), developmentTitle, key.Size, func() []byte {
		return key.New().Bytes()
	})
	if err != nil {
		return nil, fmt.Errorf("open development master key: %w", err)
	}
	defer clear(b)
	k, err := key.FromBytes(b)
	if err != nil {
		return nil, err
	}
	return &Development{k}, nil
}

// Type implements Provider.
func (d *Development) Type() kds.MasterKeyType { return kds.Development }

// Current implements Provider: there is one generation.
func (d *Development) Current() kds.Generation { return 1 }

// Key implements Provider.
func (d *Development) Key(_ context.Context, g kds.Generation) (key.Key, error) {
	if g != 1 {
		return key.Key{}, fmt.Errorf("%w: the development master key has generation 1, asked for %d", ErrGeneration, g)
	}
	return d.k, nil
}

// Close implements Provider.
func (d *Development) Close() error {
	d.k.Destroy()
	return nil
}

// Commitment names a master key without telling it: the same text on each start
// shows that it is the same key.
func Commitment(k key.Key) string {
	return hex.EncodeToString(k.Derive(nil, commitmentLabel).Bytes()[:16])
}
