package mail

import (
	"fmt"

	"github.com/coffer-fs/coffer/kds/internal/secretfile"
	"github.com/coffer-fs/coffer/key"
)

const identityTitle = "coffer mail identity, version 1: whoever reads this file is this sender"

// OpenIdentity reads the identity that is kept in path, and makes it if there is
// none. The file is for its owner only; a damaged one is an error and never
// another identity.
func OpenIdentity(path string) (Identity, error) {
	b, err := secretfile.LoadOrCreate(path, identityTitle, key.Size, func() []byte { return key.New().Bytes() })
	if err != nil {
		return Identity{}, fmt.Errorf("open mail identity: %w", err)
	}
	defer clear(b)
	seed, err := key.FromBytes(b)
	return Identity{seed}, err
}
