package mail

import (
	"context"
	"crypto/hpke"
	"fmt"
	"slices"
	"sync"

	"github.com/coffer-fs/coffer/kds"
)

// Releaser gives the keys of specs. A *kds.Client is one.
type Releaser interface {
	Release(context.Context, kds.Spec, kds.Purpose, kds.Generation) (kds.Released, error)
}

// Keys gets keys from a KDS and keeps those that it used last.
type Keys struct {
	// From gives the keys. Required.
	From Releaser
	// Most is how many keys are kept. Default DefaultCachedKeys, at most
	// MaxCachedKeys.
	Most int

	mu   sync.Mutex
	kept []keptKey // the last used first
}

// keptKey is a key and what was asked for it.
type keptKey struct {
	spec       string // canonical
	generation kds.Generation
	key        Fingerprint
	pair       hpke.PrivateKey
}

var _ KeySource = (*Keys)(nil)

// MailKey implements KeySource. If no generation is given and the current one
// has another key, older ones are tried, MaxOlderGenerations of them.
func (k *Keys) MailKey(ctx context.Context, spec kds.Spec, g kds.Generation, f Fingerprint) (hpke.PrivateKey, error) {
	if pair := k.find(spec.String(), g, f); pair != nil {
		return pair, nil
	}
	got, err := k.release(ctx, spec, g)
	for older := 0; err == nil && got.key != f; older++ {
		if g != 0 || got.generation <= 1 || older == MaxOlderGenerations {
			return nil, fmt.Errorf("%w: %s is not the key of %s", ErrOtherKey, f, spec)
		}
		got, err = k.release(ctx, spec, got.generation-1)
	}
	if err != nil {
		return nil, err
	}
	k.keep(got)
	return got.pair, nil
}

func (k *Keys) release(ctx context.Context, spec kds.Spec, g kds.Generation) (keptKey, error) {
	r, err := k.From.Release(ctx, spec, kds.Mail, g)
	if err != nil {
		return keptKey{}, err
	}
	defer r.Key.Destroy()
	pair, err := kds.KeyPair(r.Key)
	if err != nil {
		return keptKey{}, err
	}
	return keptKey{spec.String(), r.Generation, FingerprintOf(pair.PublicKey()), pair}, nil
}

// find returns a key that is kept, or nil. A key is never found under a spec
// other than its own, even if a letter says so.
func (k *Keys) find(spec string, g kds.Generation, f Fingerprint) hpke.PrivateKey {
	k.mu.Lock()
	defer k.mu.Unlock()
	i := slices.IndexFunc(k.kept, func(e keptKey) bool {
		return e.spec == spec && e.key == f && (g == 0 || g == e.generation)
	})
	if i < 0 {
		return nil
	}
	found := k.kept[i]
	copy(k.kept[1:i+1], k.kept[:i])
	k.kept[0] = found
	return found.pair
}

func (k *Keys) keep(e keptKey) {
	most := min(k.Most, MaxCachedKeys)
	if most <= 0 {
		most = DefaultCachedKeys
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.kept = slices.DeleteFunc(k.kept, func(o keptKey) bool { return o.spec == e.spec && o.key == e.key })
	k.kept = slices.Insert(k.kept, 0, e)
	if len(k.kept) > most {
		k.kept = slices.Delete(k.kept, most, len(k.kept))
	}
}
