// Package pccs gets collateral from a PCCS, the caching service for Intel's
// collateral, or from another service with its interface.
//
// Nothing that the service says is trusted: dcap verifies it. The package
// promises bounds on what it reads, on how long it waits and on what it keeps,
// and that one platform is asked for once at a time. If the service fails, what
// was got before is given again, for as long as dcap finds it valid.
//
// Imported by programs that verify quotes without collateral. Imports dcap.
package pccs

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/coffer-fs/coffer/kds/attest/dcap"
)

// Limits of a client.
const (
	// MaxAnswerBytes is the largest answer.
	MaxAnswerBytes = 64 << 10
	// MaxPlatforms is how many platforms' collateral is kept.
	MaxPlatforms = 64
	// DefaultMaxAge is how long collateral is kept without asking again.
	DefaultMaxAge = time.Hour
	// DefaultTimeout is how long one platform's collateral may take.
	DefaultTimeout = 10 * time.Second
)

var (
	// ErrURL: an address is not one of a service.
	ErrURL = errors.New("not the address of a PCCS")
	// ErrService: the service does not answer, or not in its form.
	ErrService = errors.New("PCCS gives no collateral")
)

// Client asks a service. Methods may be called at once.
type Client struct {
	// URL is the service's, up to the version: https://HOST/sgx/certification/v4.
	// Required.
	URL string
	// HTTP is the transport and its TLS. Default http.DefaultTransport.
	// Redirects are not followed.
	HTTP *http.Client
	// MaxAge is how long collateral is kept. Default DefaultMaxAge.
	MaxAge time.Duration
	// Timeout is how long one platform may take. Default DefaultTimeout.
	Timeout time.Duration
	// Now is the clock for MaxAge. Default time.Now.
	Now func() time.Time

	mu    sync.Mutex
	kept  map[dcap.Platform]*entry
	order []dcap.Platform // oldest first
}

var _ dcap.Source = (*Client)(nil)

// entry is the collateral of one platform. Whoever holds lock may ask for it.
type entry struct {
	lock chan struct{}
	c    dcap.Collateral
	got  time.Time // the zero time if c was never got
}

// Collateral implements dcap.Source.
func (c *Client) Collateral(ctx context.Context, p dcap.Platform) (dcap.Collateral, error) {
	e := c.entry(p)
	select {
	case e.lock <- struct{}{}:
		defer func() { <-e.lock }()
	case <-ctx.Done():
		return dcap.Collateral{}, ctx.Err()
	}
	now := c.now()
	if age := now.Sub(e.got); !e.got.IsZero() && age >= 0 && age < c.maxAge() {
		return e.c, nil
	}
	fresh, err := c.ask(ctx, p)
	switch {
	case err == nil:
		e.c, e.got = fresh, now
	case e.got.IsZero():
		return dcap.Collateral{}, err
	}
	return e.c, nil
}

// entry finds a platform's, or makes it in place of the oldest.
func (c *Client) entry(p dcap.Platform) *entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.kept[p]; ok {
		return e
	}
	if c.kept == nil {
		c.kept = map[dcap.Platform]*entry{}
	}
	if len(c.order) == MaxPlatforms {
		delete(c.kept, c.order[0])
		c.order = c.order[1:]
	}
	e := &entry{lock: make(chan struct{}, 1)}
	c.kept[p] = e
	c.order = append(c.order, p)
	return e
}

func (c *Client) maxAge() time.Duration {
	if c.MaxAge <= 0 {
		return DefaultMaxAge
	}
	return c.MaxAge
}

func (c *Client) timeout() time.Duration {
	if c.Timeout <= 0 {
		return DefaultTimeout
	}
	return c.Timeout
}

func (c *Client) now() time.Time {
	if c.Now == nil {
		return time.Now()
	}
	return c.Now()
}
