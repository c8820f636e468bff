package kds

import (
	"context"
	"crypto/ed25519"
	"crypto/hpke"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/policy"
	"github.com/coffer-fs/coffer/key"
)

// DefaultTimeout is how long a Client waits for a KDS.
const DefaultTimeout = 10 * time.Second

// Client asks a KDS for keys. It may be used by several goroutines.
type Client struct {
	// URL is where the KDS is, http or https: one address or several, separated
	// by commas, of nodes with the same master key. They are tried in this
	// order. Required. Nothing depends on their being honest.
	URL string
	// Constraint says which KDS enclaves are trusted. Required; it is
	// measured configuration, never a matter of the host.
	Constraint policy.Constraint
	// Verifier reads the KDS's evidence. Required.
	Verifier attest.Verifier
	// Platform is the asker's enclave. Required for private keys.
	Platform attest.Platform

	// Timeout bounds a request from connecting to the last byte, with all
	// that is tried. Of several addresses each gets its part of it. Default
	// DefaultTimeout.
	Timeout time.Duration
	// Tries is how often the addresses are gone through while nobody
	// answers. Default as often as Timeout allows.
	Tries uint
	// HTTP sends requests. Default: a client of its own. Redirects are never
	// followed.
	HTTP *http.Client
	// Logger is told of requests. Default silent.
	Logger *slog.Logger
	// Now is the clock for EXPIRE. Default time.Now.
	Now func() time.Time
}

// Released is a key that a KDS gave.
type Released struct {
	Key        key.Key
	Generation Generation
	KDS        attest.Identity // who gave it
}

// Private gets the key of spec for a purpose, of the current generation.
func (c *Client) Private(ctx context.Context, spec Spec, p Purpose) (key.Key, error) {
	r, err := c.Release(ctx, spec, p, 0)
	return r.Key, err
}

// Release gets the key of spec for a purpose, of generation g or, if that is
// 0, of the current one.
//
//  1. make a key pair for this request only
//  2. make evidence over the request, send both
//  3. check who answers, then what was signed, then what was answered
//  4. open the key
func (c *Client) Release(ctx context.Context, spec Spec, p Purpose, g Generation) (Released, error) {
	fail := func(err error) (Released, error) {
		return Released{}, fmt.Errorf("get %s key %q: %w", p, spec.Name, err)
	}
	if err := c.check(spec, p); err != nil {
		return fail(err)
	}
	if c.Platform == nil {
		return fail(fmt.Errorf("%w: it has no platform", ErrClient))
	}
	ephemeral, err := kem().GenerateKey()
	if err != nil {
		return fail(err)
	}
	request, err := c.request(spec, p, g, ephemeral.PublicKey())
	if err != nil {
		return fail(err)
	}
	var got Released
	_, err = ask(ctx, c, "private", request, func(answer PrivateAnswer) error {
		from, err := c.judge(ctx, answer.Signed, answer.SignedBytes(request.Hash()),
			asked{spec, p, g}, asked{answer.Spec, answer.Purpose, answer.Generation})
		if err != nil {
			return err
		}
		k, err := request.openKey(ephemeral, answer.SealedKey)
		if err != nil {
			return fmt.Errorf("%w: sealed key does not open", ErrDamaged)
		}
		got = Released{Key: k, Generation: answer.Generation, KDS: from}
		return nil
	})
	if err != nil {
		return fail(err)
	}
	return got, nil
}

// Public gets the public key of spec for mail or handover, of the current
// generation. It needs no platform.
func (c *Client) Public(ctx context.Context, spec Spec, p Purpose) (hpke.PublicKey, error) {
	pub, err := c.Publish(ctx, spec, p, 0)
	return pub.Key, err
}

// Published is a public key that a KDS gave.
type Published struct {
	Key        hpke.PublicKey
	Generation Generation
}

// Publish gets the public key of spec for mail or handover, of generation g or,
// if that is 0, of the current one, and tells which it is. It needs no platform.
func (c *Client) Publish(ctx context.Context, spec Spec, p Purpose, g Generation) (Published, error) {
	fail := func(err error) (Published, error) {
		return Published{}, fmt.Errorf("get public %s key %q: %w", p, spec.Name, err)
	}
	if err := c.check(spec, p); err != nil {
		return fail(err)
	}
	if err := p.checkPublic(); err != nil {
		return fail(err)
	}
	var pub Published
	_, err := ask(ctx, c, "public", PublicRequest{Spec: spec, Purpose: p, Generation: g}, func(answer PublicAnswer) error {
		if _, err := c.judge(ctx, answer.Signed, answer.SignedBytes(),
			asked{spec, p, g}, asked{answer.Spec, answer.Purpose, answer.Generation}); err != nil {
			return err
		}
		pk, err := ParsePublicKey(answer.HPKEPublicKey)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		pub = Published{pk, answer.Generation}
		return nil
	})
	if err != nil {
		return fail(err)
	}
	return pub, nil
}

// check finds what is missing before anything is sent.
func (c *Client) check(spec Spec, p Purpose) error {
	if err := spec.Check(); err != nil {
		return err
	}
	if err := p.Check(); err != nil {
		return err
	}
	if c.Verifier == nil {
		return fmt.Errorf("%w: it has no verifier", ErrClient)
	}
	if err := c.Constraint.Check(); err != nil {
		return fmt.Errorf("%w: kdsEnclaveConstraint: %w", ErrClient, err)
	}
	return nil
}

func (c *Client) request(spec Spec, p Purpose, g Generation, pk hpke.PublicKey) (PrivateRequest, error) {
	r := PrivateRequest{Spec: spec, Purpose: p, Generation: g, HPKEPublicKey: pk.Bytes()}
	evidence, err := c.Platform.Quote(attest.ReportData(r.Hash()))
	if err != nil {
		return PrivateRequest{}, fmt.Errorf("%w: %w", ErrPlatform, err)
	}
	r.Evidence = evidence
	return r, nil
}

// asked names a key.
type asked struct {
	spec       Spec
	purpose    Purpose
	generation Generation
}

// judge decides whether an answer is believed: its signer first, then its
// signature, then whether it is for what was asked.
func (c *Client) judge(ctx context.Context, by Signed, signed []byte, want, got asked) (attest.Identity, error) {
	from, err := c.trust(ctx, by.Attestation)
	if err != nil {
		return attest.Identity{}, fmt.Errorf("%w: %w", ErrNotTrusted, err)
	}
	differs := want.differs(got)
	if !ed25519.Verify(by.ResponseKey, signed, by.Signature) {
		if differs != nil {
			return attest.Identity{}, differs
		}
		return attest.Identity{}, fmt.Errorf("%w: signature does not match", ErrDamaged)
	}
	return from, differs
}

// trust returns who holds the response key, if he meets the constraint.
func (c *Client) trust(ctx context.Context, a Attestation) (attest.Identity, error) {
	if len(a.ResponseKey) != ed25519.PublicKeySize {
		return attest.Identity{}, fmt.Errorf("%w: response key has %d bytes", ErrMalformed, len(a.ResponseKey))
	}
	report, err := c.Verifier.Verify(ctx, a.Evidence)
	if err != nil {
		return attest.Identity{}, err
	}
	if report.ReportData != ResponseKeyData(a.ResponseKey) {
		return attest.Identity{}, fmt.Errorf("%w: it is not for the response key", attest.ErrEvidence)
	}
	if c.Platform != nil && c.Platform.Mode() == attest.Release && report.Identity.Mode == attest.Simulation {
		return attest.Identity{}, fmt.Errorf("%w: a simulated KDS for a release enclave", attest.ErrEvidence)
	}
	now := time.Now
	if c.Now != nil {
		now = c.Now
	}
	return report.Identity, c.Constraint.Match(report.Identity, now())
}

func (want asked) differs(got asked) error {
	switch {
	case !want.spec.Equal(got.spec):
		return fmt.Errorf("%w: asked for %s, got %s", ErrWrongAnswer, want.spec, got.spec)
	case want.purpose != got.purpose:
		return fmt.Errorf("%w: asked for purpose %s, got %s", ErrWrongAnswer, want.purpose, got.purpose)
	case got.generation == 0, want.generation != 0 && want.generation != got.generation:
		return fmt.Errorf("%w: asked for generation %d, got %d", ErrWrongAnswer, want.generation, got.generation)
	}
	return nil
}
