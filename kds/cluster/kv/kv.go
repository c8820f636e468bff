// Package kv is where a cluster keeps what its nodes must agree on: etcd, or a
// file for a cluster of one node.
//
// A Store is small values under names, changed by compare-and-swap of several at
// once. It promises that a Commit that returned true is durable, and that nothing
// else happened if it returned false. Nothing that it returns is trusted: whoever
// runs the store may give anything, older values too. What is asked of it is
// bounded: sizes, counts, time.
//
// Imported by kds/cluster and cmd/coffer-kds. Imports nothing of ours.
package kv

import (
	"context"
	"errors"
	"fmt"
)

// Limits of a store.
const (
	// MaxValueBytes is the largest value.
	MaxValueBytes = 512 << 10
	// MaxListed is how many values List returns.
	MaxListed = 4096
)

var (
	// ErrUnreachable: the store does not answer. It is unknown whether a
	// Commit happened.
	ErrUnreachable = errors.New("cluster store does not answer")
	// ErrAnswer: the store gave what no honest one gives.
	ErrAnswer = errors.New("cluster store answers wrongly")
	// ErrFull: the store has no room for a change. Nothing happened.
	ErrFull = errors.New("cluster store is full")
	// ErrInUse: another process has the file.
	ErrInUse = errors.New("cluster store is in use by another process")
)

// Value is what is under a name. The zero Value: nothing is.
type Value struct {
	Data []byte
	// Revision is another after each change, 0 if there is nothing.
	Revision int64
}

// Named is a value and its name.
type Named struct {
	Name string
	Value
}

// If is a condition: the value's revision is this, 0: there is none.
type If struct {
	Name     string
	Revision int64
}

// Put is a change. Nil data removes the value.
type Put struct {
	Name string
	Data []byte
}

// Store keeps values. Its methods may be called at the same time.
type Store interface {
	// Get returns the values under names as they were at one time.
	Get(ctx context.Context, names ...string) ([]Value, error)
	// List returns the values whose name begins so, by name, MaxListed at most.
	List(ctx context.Context, prefix string) ([]Named, error)
	// Commit makes all changes if all conditions hold, else none.
	Commit(ctx context.Context, ifs []If, puts []Put) (bool, error)
	// Close lets go of the store.
	Close() error
}

// check refuses what no store takes.
func check(puts []Put) error {
	for _, p := range puts {
		if len(p.Data) > MaxValueBytes {
			return fmt.Errorf("value %q has %d bytes, at most %d are kept", p.Name, len(p.Data), MaxValueBytes)
		}
	}
	return nil
}
