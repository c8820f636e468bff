package peer

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"
	"unicode"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/internal/strictjson"
	"github.com/coffer-fs/coffer/key"
)

// request is the body of POST /master-key between nodes.
type request struct {
	Evidence attest.Evidence `json:"evidence"`
}

// answer is the answer to it, on the same connection.
type answer struct {
	Evidence attest.Evidence `json:"evidence"`
	Keys     []held          `json:"keys"`
}

type held struct {
	Generation kds.Generation `json:"generation"`
	Key        []byte         `json:"key"`
}

// maxKeys is how many generations one answer has.
const maxKeys = 1024

// Keys are master keys by their generation.
type Keys map[kds.Generation]key.Key

// Destroy overwrites the keys.
func (k Keys) Destroy() {
	for _, one := range k {
		one.Destroy()
	}
}

// Fetch asks the node at an address for the master keys that it has, and says
// who it is. The keys are to be checked against their commitments. Two dials
// are never one connection: what is sent and got is on one that was attested.
func (p *Party) Fetch(ctx context.Context, addr string) (Keys, attest.Identity, error) {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	c, err := p.dial(ctx, addr)
	if err != nil {
		return nil, attest.Identity{}, err
	}
	defer c.Close()
	mine, err := p.show(asking, c.ConnectionState())
	if err != nil {
		return nil, attest.Identity{}, err
	}
	b, err := post(c, "/master-key", request{mine})
	if err != nil {
		return nil, attest.Identity{}, err
	}
	defer clear(b)
	var a answer
	if err := strictjson.Unmarshal(b, &a); err != nil {
		return nil, attest.Identity{}, err
	}
	defer a.clear()
	id, err := p.identify(ctx, answering, c.ConnectionState(), a.Evidence)
	if err != nil {
		return nil, id, err
	}
	keys, err := a.keys()
	return keys, id, err
}

func (a answer) clear() {
	for _, h := range a.Keys {
		clear(h.Key)
	}
}

func (a answer) keys() (Keys, error) {
	if len(a.Keys) > maxKeys {
		return nil, fmt.Errorf("%w: %d master keys", ErrConnection, len(a.Keys))
	}
	keys := Keys{}
	for _, h := range a.Keys {
		k, err := key.FromBytes(h.Key)
		if err != nil || keys[h.Generation] != (key.Key{}) {
			keys.Destroy()
			return nil, fmt.Errorf("%w: generation %d is not a master key", ErrConnection, h.Generation)
		}
		keys[h.Generation] = k
	}
	return keys, nil
}

// Post sends a message to the node at an address, without evidence: both know
// what it must be authenticated with. Connections are kept for the next one.
func (p *Party) Post(ctx context.Context, addr, path string, message any) ([]byte, error) {
	b, err := json.Marshal(message)
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+addr+path, bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	r.Header.Set(kds.VersionHeader, kds.Version)
	a, err := p.pool.Do(r)
	if err != nil {
		return nil, err
	}
	return read(a)
}

func (p *Party) dialOnly(ctx context.Context, addr string) (net.Conn, error) {
	d := tls.Dialer{Config: p.config()}
	return d.DialContext(ctx, "tcp", addr)
}

// dial is a connection that ends when ctx does.
func (p *Party) dial(ctx context.Context, addr string) (*tls.Conn, error) {
	c, err := p.dialOnly(ctx, addr)
	if err != nil {
		return nil, err
	}
	if deadline, ok := ctx.Deadline(); ok {
		_ = c.SetDeadline(deadline)
	}
	return c.(*tls.Conn), nil
}

// post is one request of HTTP on a connection that is already there.
func post(c *tls.Conn, path string, message any) ([]byte, error) {
	b, err := json.Marshal(message)
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequest(http.MethodPost, "https://"+serverName+path, bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	r.Header.Set(kds.VersionHeader, kds.Version)
	r.Close = true
	if err := r.Write(c); err != nil {
		return nil, err
	}
	a, err := http.ReadResponse(bufio.NewReader(io.LimitReader(c, 2*MaxBytes)), r)
	if err != nil {
		return nil, err
	}
	return read(a)
}

// read reads a bounded answer.
func read(a *http.Response) ([]byte, error) {
	defer a.Body.Close()
	b, err := io.ReadAll(io.LimitReader(a.Body, MaxBytes+1))
	switch {
	case err != nil:
		return nil, err
	case len(b) > MaxBytes:
		return nil, fmt.Errorf("%w: an answer larger than %d bytes", ErrConnection, MaxBytes)
	case a.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("%w: status %d: %s", ErrRefused, a.StatusCode, printable(b))
	}
	return b, nil
}

func printable(b []byte) string {
	return strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) {
			return ' '
		}
		return c
	}, strings.ToValidUTF8(string(b[:min(len(b), kds.MaxReasonBytes)]), ""))
}

// Handlers are what a node does for others.
type Handlers struct {
	// Give decides on, and writes down, that master keys go to a node that was
	// identified and admitted; refused, if not nil, is why it was not.
	Give func(ctx context.Context, to attest.Identity, refused error) (Keys, error)
	// More are other paths. Their messages are not authenticated yet.
	More map[string]func(ctx context.Context, body []byte) (any, error)
}

// limits of the listener between nodes.
const (
	maxExchanges = 32
	headerBytes  = 8 << 10
)

// Serve answers other nodes on l until ctx ends.
func (p *Party) Serve(ctx context.Context, l net.Listener, h Handlers, logger *slog.Logger) error {
	mux := http.NewServeMux()
	mux.Handle("POST /master-key", p.handle(logger, func(r *http.Request, b []byte) (any, error) { return p.give(r, b, h) }))
	for path, f := range h.More {
		mux.Handle("POST "+path, p.handle(logger, func(r *http.Request, b []byte) (any, error) { return f(r.Context(), b) }))
	}
	s := &http.Server{
		Handler: mux, MaxHeaderBytes: headerBytes, ReadTimeout: Timeout, WriteTimeout: Timeout, IdleTimeout: Timeout,
		ErrorLog: slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
	}
	failed := make(chan error, 1)
	go func() { failed <- s.Serve(tls.NewListener(l, p.config())) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if s.Shutdown(stop) != nil {
		_ = s.Close()
	}
	<-failed
	return nil
}

// handle bounds and answers one exchange.
func (p *Party) handle(logger *slog.Logger, f func(*http.Request, []byte) (any, error)) http.Handler {
	slots := make(chan struct{}, maxExchanges)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case slots <- struct{}{}:
			defer func() { <-slots }()
		default:
			http.Error(w, "too many requests at once", http.StatusTooManyRequests)
			return
		}
		b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxBytes))
		if err != nil {
			http.Error(w, "the body does not end in time, or is too large", http.StatusBadRequest)
			return
		}
		a, err := f(r, b)
		if errors.Is(err, ErrRate) { // nor is the log filled
			http.Error(w, err.Error(), http.StatusTooManyRequests)
			return
		}
		if err != nil {
			logger.Warn("node request refused", "path", r.URL.Path, "error", err)
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(a)
	})
}

// give answers POST /master-key: identify, decide, write down, show, give.
func (p *Party) give(r *http.Request, body []byte, h Handlers) (any, error) {
	if err := p.rates.any(); err != nil {
		return nil, err
	}
	var q request
	if err := strictjson.Unmarshal(body, &q); err != nil {
		return nil, err
	}
	if r.TLS == nil {
		return nil, fmt.Errorf("%w: no TLS", ErrConnection)
	}
	id, err := p.identify(r.Context(), asking, *r.TLS, q.Evidence)
	if err != nil && !errors.Is(err, ErrNotPeer) {
		return nil, err
	}
	if err := p.rates.by(id); err != nil {
		return nil, err
	}
	keys, err := h.Give(r.Context(), id, err)
	if err != nil {
		return nil, err
	}
	mine, err := p.show(answering, *r.TLS)
	if err != nil {
		return nil, err
	}
	a := answer{Evidence: mine}
	for g, k := range keys {
		a.Keys = append(a.Keys, held{g, k.Bytes()})
	}
	return a, nil
}
