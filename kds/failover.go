package kds

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/coffer-fs/coffer/kds/attest"
)

// The wait between two rounds, without its jitter of one half: doubled from the
// first to the longest.
const (
	firstWait   = 100 * time.Millisecond
	longestWait = 2 * time.Second
)

// MaxURLs is how many addresses a client may have.
const MaxURLs = 32

// node is one address while a request is on its way.
type node struct {
	url  *url.URL
	err  error // what came of asking last
	over bool  // its answer cannot be used: it is not asked again
}

// failed keeps what came of asking. A node that refused and then gave no answer in
// time, perhaps only because the client's time was up, has still said why.
func (n *node) failed(err error) {
	var r *RefusedError
	if errors.Is(err, ErrTimeout) && errors.As(n.err, &r) {
		err = fmt.Errorf("%w; asked again: %v", r, err)
	}
	n.err = err
}

// ask sends a request to the addresses in turn, until one gives an answer that
// judge believes.
//
//	refused (403 and the like)         final: another node would refuse too
//	not trusted, damaged, wrong        this address is not asked again
//	down, slow, 429, 502, 503, 504     it is asked again in the next round
//	its evidence cannot be verified now  likewise
//
// Rounds go on, with a growing wait between them, until the time-out. A request
// may so take effect more than once.
func ask[A any](ctx context.Context, c *Client, path string, request any, judge func(A) error) (A, error) {
	var answer A
	nodes, err := c.nodes()
	if err != nil {
		return answer, err
	}
	body, err := json.Marshal(request)
	if err != nil {
		return answer, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout())
	defer cancel()
	part := c.timeout() / time.Duration(len(nodes))
	round := func() (A, error) {
		return oneRound(ctx, c, nodes, func(to *url.URL) (a A, err error) {
			if err := c.post(ctx, part, to.JoinPath(path), body, &a); err != nil {
				return a, err
			}
			return a, judge(a)
		})
	}
	answer, err = backoff.Retry(ctx, round, backoff.WithBackOff(waits()), backoff.WithMaxElapsedTime(c.timeout()), backoff.WithMaxTries(c.Tries))
	if err != nil {
		return answer, failed(nodes, err)
	}
	return answer, nil
}

func waits() *backoff.ExponentialBackOff {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval, b.MaxInterval, b.Multiplier, b.RandomizationFactor = firstWait, longestWait, 2, 0.5
	return b
}

// oneRound asks each address that is not over. An error is permanent if another
// round would be in vain.
func oneRound[A any](ctx context.Context, c *Client, nodes []*node, try func(*url.URL) (A, error)) (A, error) {
	var none A
	var after time.Duration
	var err error
	for _, n := range nodes {
		if n.over {
			continue
		}
		a, tried := try(n.url)
		if tried == nil {
			return a, nil
		}
		n.failed(tried)
		var r *RefusedError
		switch {
		case errors.Is(tried, context.Canceled):
			return none, backoff.Permanent(tried)
		case errors.As(tried, &r) && !r.Temporary():
			return none, backoff.Permanent(&finalError{tried})
		case errors.As(tried, &r):
			after, err = max(after, r.RetryAfter), tried
		case errors.Is(tried, ErrUnreachable), errors.Is(tried, ErrTimeout), errors.Is(tried, attest.ErrUnavailable):
			err = tried
		default:
			n.over = true
		}
		c.logger().LogAttrs(ctx, slog.LevelWarn, "kds node", slog.String("url", n.url.Redacted()), slog.Any("error", tried))
	}
	switch {
	case err == nil: // none is left
		return none, backoff.Permanent(errNoneLeft)
	case after > 0:
		return none, errors.Join(err, &backoff.RetryAfterError{Duration: after + rand.N(after)})
	}
	return none, err
}

// finalError ends the asking, whatever the other nodes said before.
type finalError struct{ error }

func (e *finalError) Unwrap() error { return e.error }

var errNoneLeft = errors.New("no node is left to ask")

// failed is what is said when no answer came: the refusal, or what each node
// answered last.
func failed(nodes []*node, err error) error {
	if f := (*finalError)(nil); errors.As(err, &f) {
		return f.error
	}
	if len(nodes) == 1 && nodes[0].err != nil {
		return nodes[0].err
	}
	all := &nodesError{}
	for _, n := range nodes {
		if n.err != nil {
			all.errs = append(all.errs, fmt.Errorf("%s: %w", n.url.Redacted(), n.err))
		}
	}
	if len(all.errs) == 0 {
		return transport(err, 0)
	}
	return all
}

// nodesError is what several nodes said, on one line.
type nodesError struct{ errs []error }

func (e *nodesError) Unwrap() []error { return e.errs }

func (e *nodesError) Error() string {
	var s []string
	for _, err := range e.errs {
		s = append(s, err.Error())
	}
	return strings.Join(s, "; ")
}

// nodes are the client's addresses.
func (c *Client) nodes() ([]*node, error) {
	urls, err := ParseURLs(c.URL)
	var nodes []*node
	for _, u := range urls {
		nodes = append(nodes, &node{url: u})
	}
	return nodes, err
}

// ParseURLs reads the addresses of a KDS, separated by commas.
func ParseURLs(s string) ([]*url.URL, error) {
	parts := strings.Split(s, ",")
	if len(parts) > MaxURLs {
		return nil, fmt.Errorf("%w: %d addresses, at most %d", ErrURL, len(parts), MaxURLs)
	}
	var all []*url.URL
	for _, p := range parts {
		u, err := parseURL(strings.TrimSpace(p))
		if err != nil {
			return nil, err
		}
		all = append(all, u)
	}
	return all, nil
}

// parseURL reads one address.
func parseURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrURL, err)
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("%w %q: it begins with http:// or https://", ErrURL, s)
	case u.Hostname() == "":
		return nil, fmt.Errorf("%w %q: it names no host", ErrURL, s)
	}
	return u, nil
}
