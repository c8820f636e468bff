package cluster

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/hpke"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/cluster/record"
	"github.com/coffer-fs/coffer/kds/internal/strictjson"
	"github.com/coffer-fs/coffer/kds/nodeconfig"
	"github.com/coffer-fs/coffer/kds/policy"
)

const (
	maxAnswerBytes = 16 << 20
	askTimeout     = 30 * time.Second
)

var (
	// ErrAsk: the node gave no answer that can be used.
	ErrAsk = errors.New("node did not do as asked")
	// ErrNotTrusted: the node does not meet the constraint of whoever asks.
	ErrNotTrusted = errors.New("node is not trusted")
)

// Person is an operator or a custodian at his own machine, who believes a node
// only on its evidence.
type Person struct {
	// URL is that of the node. The way to it is not trusted.
	URL string
	// Config is what the node must have been started with, from his own copy.
	Config *nodeconfig.Config
	// Constraint is what the node must be.
	Constraint policy.Constraint
	// Verifier reads the node's evidence.
	Verifier attest.Verifier
}

// Status asks how the node is. Anybody on the way may have changed it.
func (p Person) Status(ctx context.Context) (Status, error) {
	var s Status
	err := p.ask(ctx, http.MethodGet, StatusPath, nil, &s)
	return s, err
}

// trust verifies that evidence over data is of an enclave that meets the
// constraint.
func (p Person) trust(ctx context.Context, e attest.Evidence, data attest.ReportData) (attest.Identity, error) {
	report, err := p.Verifier.Verify(ctx, e)
	switch {
	case err != nil:
		return attest.Identity{}, fmt.Errorf("%w: %w", ErrNotTrusted, err)
	case report.ReportData != data:
		return attest.Identity{}, fmt.Errorf("%w: its evidence is for something else", ErrNotTrusted)
	}
	if err := p.Constraint.Match(report.Identity, time.Now()); err != nil {
		return report.Identity, fmt.Errorf("%w: %w", ErrNotTrusted, err)
	}
	return report.Identity, nil
}

// Make has the node make a generation of the master key, and signs it as an
// operator: the first one is the birth of the cluster.
func (p Person) Make(ctx context.Context, want kds.Generation, operator ed25519.PrivateKey) (*record.Generation, attest.Identity, error) {
	var q Proposal
	if err := p.ask(ctx, http.MethodPost, ProposePath, NewPropose(p.Config.Cluster.Name, want, operator), &q); err != nil {
		return nil, attest.Identity{}, err
	}
	g, err := record.ParseBody(q.Body)
	if err != nil {
		return nil, attest.Identity{}, err
	}
	id, err := p.trust(ctx, q.Evidence, ProposalData(g.Hash()))
	if err != nil {
		return nil, id, err
	}
	if err := p.expected(g, want); err != nil {
		return nil, id, err
	}
	h := g.Hash()
	c := Confirmation{Hash: h[:], Operator: operator.Public().(ed25519.PublicKey), Signature: ed25519.Sign(operator, h.OperatorBytes())}
	var done struct {
		Generation kds.Generation `json:"generation"`
	}
	if err := p.ask(ctx, http.MethodPost, ConfirmPath, c, &done); err != nil {
		return nil, id, err
	}
	return g, id, nil
}

// expected refuses to sign what differs from the operator's own configuration.
func (p Person) expected(g *record.Generation, want kds.Generation) error {
	c := p.Config.Cluster
	same := func(a record.Share, b nodeconfig.Custodian) bool {
		return a.Custodian == b.Name && bytes.Equal(a.Key, b.Key)
	}
	switch {
	case g.Cluster != c.Name || g.Number != want:
		return fmt.Errorf("%w: it proposes generation %d of %q", ErrAsk, g.Number, g.Cluster)
	case g.Sharing.Threshold != c.Threshold || !slices.EqualFunc(g.Sharing.Shares, c.Custodians, same):
		return fmt.Errorf("%w: it shares the master key out to others than the configuration names", ErrAsk)
	}
	return nil
}

// Retire ends a generation, by its record's hash.
func (p Person) Retire(ctx context.Context, h record.Hash, operator ed25519.PrivateKey) error {
	r := record.Retirement{Generation: h, Operator: operator.Public().(ed25519.PublicKey), Signature: ed25519.Sign(operator, h.RetirementBytes())}
	return p.ask(ctx, http.MethodPost, RetirePath, Retire{r.Encode()}, &struct{}{})
}

// Recover gives a custodian's shares to a node that waits, after it has shown
// what it is. Each share is checked before it is given away.
func (p Person) Recover(ctx context.Context, sk hpke.PrivateKey) (custodian string, status []ShareStatus, err error) {
	s, err := p.Status(ctx)
	if err != nil {
		return "", nil, err
	}
	r := s.Recovery
	if r == nil {
		return "", nil, fmt.Errorf("%w: it is %s", ErrNotWaiting, s.State)
	}
	if _, err := p.trust(ctx, r.Evidence, RecoveryData(p.Config.Cluster.Name, r.Key)); err != nil {
		return "", nil, err
	}
	q := Shares{}
	for _, b := range r.Records {
		g, err := record.Parse(b, p.Config)
		if err != nil {
			return "", nil, err
		}
		name, sealed, err := g.Hand(sk, r.Key)
		if err != nil {
			return "", nil, err
		}
		q.Custodian, q.Shares = name, append(q.Shares, Share{g.Number, sealed})
	}
	var done struct {
		Shares []ShareStatus `json:"shares"`
	}
	err = p.ask(ctx, http.MethodPost, SharePath, q, &done)
	return q.Custodian, done.Shares, err
}

// ask sends a request to the node.
func (p Person) ask(ctx context.Context, method, path string, q, a any) error {
	bases, err := kds.ParseURLs(p.URL)
	if err != nil {
		return err
	}
	if len(bases) != 1 {
		return fmt.Errorf("%w %q: one node is asked", kds.ErrURL, p.URL)
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	var body io.Reader
	if q != nil {
		b, err := json.Marshal(q)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	r, err := http.NewRequestWithContext(ctx, method, bases[0].JoinPath(path).String(), body)
	if err != nil {
		return err
	}
	r.Header.Set(kds.VersionHeader, kds.Version)
	h := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	got, err := h.Do(r)
	if err != nil {
		return fmt.Errorf("%w: %w", kds.ErrUnreachable, err)
	}
	defer got.Body.Close()
	b, err := io.ReadAll(io.LimitReader(got.Body, maxAnswerBytes))
	if err != nil {
		return fmt.Errorf("%w: %w", kds.ErrUnreachable, err)
	}
	if got.StatusCode != http.StatusOK {
		var why kds.Refusal
		_ = strictjson.Unmarshal(b, &why)
		return fmt.Errorf("%w: status %d: %.1024q", ErrAsk, got.StatusCode, why.Reason)
	}
	if err := strictjson.Unmarshal(b, a); err != nil {
		return fmt.Errorf("%w: %w", ErrAsk, err)
	}
	return nil
}
