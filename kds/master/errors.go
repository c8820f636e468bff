package master

import (
	"errors"

	"github.com/coffer-fs/coffer/kds/internal/secretfile"
)

var (
	// ErrGeneration: the provider has no master key of that generation.
	ErrGeneration = errors.New("no such master key generation")
	// ErrDamaged: the file of the master key is not what was written.
	ErrDamaged = secretfile.ErrDamaged
	// ErrPermissions: others than its owner may read the file.
	ErrPermissions = secretfile.ErrPermissions
)
