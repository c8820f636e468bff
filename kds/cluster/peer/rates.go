package peer

import (
	"fmt"
	"sync"

	"golang.org/x/time/rate"

	"github.com/coffer-fs/coffer/kds/attest"
)

// Limits of how often master keys are asked for, in a second: a second's worth may
// come at once.
const (
	MaxRate         = 64 // in all
	MaxIdentityRate = 16 // by one enclave
	// maxIdentities is how many enclaves are told apart. With more, all begin
	// again, within what there may be in all.
	maxIdentities = 256
)

// rates bounds how often evidence is read, and an audit line is written for it.
type rates struct {
	all *rate.Limiter

	mu   sync.Mutex // guards each
	each map[enclave]*rate.Limiter
}

// enclave is what is counted as one.
type enclave struct {
	code, signer attest.Hash
	product      uint16
}

func newRates() *rates {
	return &rates{all: rate.NewLimiter(MaxRate, MaxRate), each: map[enclave]*rate.Limiter{}}
}

// any takes from what all may do. ErrRate.
func (r *rates) any() error {
	if r.all.Allow() {
		return nil
	}
	return fmt.Errorf("%w: more than %d a second", ErrRate, MaxRate)
}

// by takes from what one enclave may do, whose evidence was verified. ErrRate.
func (r *rates) by(id attest.Identity) error {
	e := enclave{id.CodeHash, id.SignerHash, id.ProductID}
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.each[e]
	if l == nil {
		if len(r.each) == maxIdentities {
			clear(r.each)
		}
		l = rate.NewLimiter(MaxIdentityRate, MaxIdentityRate)
		r.each[e] = l
	}
	if l.Allow() {
		return nil
	}
	return fmt.Errorf("%w: more than %d a second by enclave %s", ErrRate, MaxIdentityRate, id.CodeHash)
}
