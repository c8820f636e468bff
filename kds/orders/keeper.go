package orders

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"slices"
	"sync"

	"github.com/coffer-fs/coffer/kds/attest"
)

// Store keeps the signed text of the orders in force. It is not trusted.
type Store interface {
	// Load returns the text, empty if there is none.
	Load(ctx context.Context) ([]byte, error)
	// Replace swaps old for text, and returns when that is durable. It fails
	// if what is stored is not old.
	Replace(ctx context.Context, old, text []byte) error
}

// Keeper has the orders in force.
type Keeper struct {
	store     Store
	operators []ed25519.PublicKey

	mu   sync.Mutex // guards what follows; held while the store is asked
	now  Orders
	text []byte
	// tried is what a Replace failed to store: whether it did is unknown.
	tried []byte
}

// Open reads the orders in force.
func Open(ctx context.Context, s Store, operators []ed25519.PublicKey) (*Keeper, error) {
	k := &Keeper{store: s, operators: slices.Clone(operators)}
	text, err := s.Load(ctx)
	if err == nil && len(text) > 0 {
		k.now, err = Parse(text, operators)
	}
	if err != nil {
		return nil, fmt.Errorf("read orders: %w", err)
	}
	k.text = text
	return k, nil
}

// Apply puts signed orders in force, on this node and in the store. Orders that
// are in force already are no error.
func (k *Keeper) Apply(ctx context.Context, text []byte) (Orders, error) {
	o, err := Parse(text, k.operators)
	if err != nil {
		return o, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case bytes.Equal(text, k.text):
		return k.now, nil
	case o.Number <= k.now.Number:
		return o, fmt.Errorf("%w: number %d, and %d is in force", ErrNumber, o.Number, k.now.Number)
	}
	if err := k.replace(ctx, text); err != nil {
		return o, fmt.Errorf("store orders: %w", err)
	}
	k.now, k.text = o, bytes.Clone(text)
	return o, nil
}

// replace stores text in place of what is in force. A Replace that failed may have
// taken effect all the same: what this node itself tried last is not another's
// change. k.mu is held.
func (k *Keeper) replace(ctx context.Context, text []byte) error {
	old := k.text
	if len(k.tried) > 0 {
		now, err := k.store.Load(ctx)
		if err != nil {
			return err
		}
		if bytes.Equal(now, k.tried) {
			old = now
		}
	}
	k.tried = bytes.Clone(text)
	if err := k.store.Replace(ctx, old, text); err != nil {
		return err
	}
	k.tried = nil
	return nil
}

// Text is the signed text of the orders in force, empty if there are none.
func (k *Keeper) Text() []byte {
	k.mu.Lock()
	defer k.mu.Unlock()
	return bytes.Clone(k.text)
}

// Orders are those in force.
func (k *Keeper) Orders() Orders {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.now
}

// Allow refuses what the orders in force deny.
func (k *Keeper) Allow(id attest.Identity, spec [32]byte) error { return k.Orders().Allow(id, spec) }

// MinEvaluationNumber is that of the orders in force.
func (k *Keeper) MinEvaluationNumber() uint32 { return k.Orders().MinEvaluationNumber }
