// Package master provides master keys: the secrets that a KDS derives all
// others from.
//
// A Provider is one type of master key. It promises that a generation, once
// current, gives the same key for ever, on every start; that a damaged or
// missing key is an error and never another key; and that it names its type, by
// which the server decides who may be served. The development provider is here;
// the others come in files of their own.
//
// Imported by kds/server and cmd/coffer-kds. Imports kds and key.
package master

import (
	"context"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/key"
)

// Provider is one type of master key.
type Provider interface {
	// Type names it. It is part of every derivation.
	Type() kds.MasterKeyType

	// Current is the newest generation, 1 or more.
	Current() kds.Generation

	// Key is the master key of a generation. The caller must not destroy it.
	// ErrGeneration if there is none; any other error means that the key
	// cannot be had now.
	Key(ctx context.Context, g kds.Generation) (key.Key, error)

	// Close destroys the keys in memory.
	Close() error
}
