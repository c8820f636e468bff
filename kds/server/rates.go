package server

import (
	"net/http"
	"sync"

	"golang.org/x/time/rate"

	"github.com/coffer-fs/coffer/kds/anchor"
	"github.com/coffer-fs/coffer/kds/attest"
)

// Limits of how often keys are asked for.
const (
	// DefaultRate is how many requests a second are served in all.
	DefaultRate = 10_000
	// DefaultIdentityRate is how many keys a second one enclave is given: all
	// instances of the same code on the node together.
	DefaultIdentityRate = 2_000
	// DefaultAnchorRate is how many requests a second are served for the
	// anchors of one key spec, all its volumes together.
	DefaultAnchorRate = 2_000
	// MaxIdentities is how many enclaves are told apart, and how many specs
	// with anchors; if there are more at once, the one that was seen first is
	// forgotten.
	MaxIdentities = 4096
)

// rates bounds how often something is done, in all, by each enclave, and for the
// anchors of each spec. A second's worth may come at once.
type rates struct {
	all      *rate.Limiter
	enclaves *limiters[enclave]
	anchors  *limiters[anchor.Owner]
}

// enclave is what is counted as one.
type enclave struct {
	code, signer attest.Hash
	product      uint16
}

func newRates(all, each, anchors int) *rates {
	return &rates{rate.NewLimiter(rate.Limit(all), all), newLimiters[enclave](each), newLimiters[anchor.Owner](anchors)}
}

// any takes from what all may do.
func (r *rates) any() error {
	if r.all.Allow() {
		return nil
	}
	return refuse(http.StatusTooManyRequests, "more than %v requests a second", r.all.Limit())
}

// by takes from what one enclave may do. Its evidence was verified: nobody can
// use up what is another's.
func (r *rates) by(id attest.Identity) error {
	if r.enclaves.of(enclave{id.CodeHash, id.SignerHash, id.ProductID}).Allow() {
		return nil
	}
	return refuse(http.StatusTooManyRequests, "more than %v keys a second for enclave %s", r.enclaves.limit, id.CodeHash)
}

// anchorsOf takes from what the holders of one spec's anchor key may do. They
// showed that they have it.
func (r *rates) anchorsOf(o anchor.Owner) error {
	if r.anchors.of(o).Allow() {
		return nil
	}
	return refuse(http.StatusTooManyRequests, "more than %v requests a second for anchors of spec %x", r.anchors.limit, o)
}

// limiters are one for each of at most MaxIdentities.
type limiters[K comparable] struct {
	limit rate.Limit

	mu    sync.Mutex // guards what follows
	each  map[K]*rate.Limiter
	order []K // oldest first
}

func newLimiters[K comparable](limit int) *limiters[K] {
	return &limiters[K]{limit: rate.Limit(limit), each: map[K]*rate.Limiter{}}
}

func (r *limiters[K]) of(k K) *rate.Limiter {
	r.mu.Lock()
	defer r.mu.Unlock()
	if l, ok := r.each[k]; ok {
		return l
	}
	if len(r.order) == MaxIdentities {
		delete(r.each, r.order[0])
		r.order = r.order[1:]
	}
	l := rate.NewLimiter(r.limit, int(r.limit))
	r.each[k] = l
	r.order = append(r.order, k)
	return l
}
