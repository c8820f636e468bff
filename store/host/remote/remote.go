// Package remote reaches a volume in another process, over HTTP on a Unix socket
// or TCP (docs/host-protocol.md). It is how a release enclave reaches its volume.
//
// It promises what host.Volume promises, and that a host process may be killed
// and started anew at any moment: calls wait for it, for as long as
// Options.Patience, and go on. For that a writer keeps what was appended and not
// yet synced, at most maxWindow bytes, and appends it again at the new process:
// what a sync acknowledges was written in one process, wholly, before it. A call
// that may or may not have had its effect when the connection broke is repeated
// in a way that has it once; where that cannot be known, the error says so by not
// being a refusal.
//
// The lease belongs to a random token. The new process accepts it if nobody
// acquired the volume since; else the writer is fenced, for good.
//
// Everything that comes back is hostile. Lengths are compared with what was asked
// for before a byte is read, answers beyond it are not read, redirects are not
// followed, no proxy is used, and every wait has an end. It trusts the host's word
// for nothing that the store does not verify.
//
// Linked into enclaves: it imports nothing that works on files of the machine.
//
// Lock order, from the outside in:
//
//	writer.swapping, segment.mu
//	  writer.resuming (shared by calls, exclusive for a resumption)
//	    writer.mu
package remote

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/remote/wire"
)

const (
	// defaultPatience and defaultTimeout are those of Options.
	defaultPatience = time.Minute
	defaultTimeout  = 30 * time.Second
	// maxConnections is how many calls are under way at once; more wait.
	maxConnections = 64
	// maxWindow bounds what is kept of appends that are not synced, in bytes.
	// Beyond it a writer syncs on its own.
	maxWindow = 16 << 20
	// pauseMin and pauseMax bound the pauses between tries.
	pauseMin = 5 * time.Millisecond
	pauseMax = 500 * time.Millisecond
)

// Options of a Volume. The zero value is for a Unix socket that needs no token.
type Options struct {
	// Token is shown to the host process. It is sent over TLS, or within this
	// machine.
	Token []byte
	// TLS says how to trust the host process at https addresses; MinVersion
	// and NextProtos are set here. Default: the machine's roots.
	TLS *tls.Config
	// Patience is how long a call waits for a host process that cannot be
	// reached. Default 1 min.
	Patience time.Duration
	// Timeout bounds one try of a call, with a second more for each 256 KiB.
	// Default 30 s.
	Timeout time.Duration
}

// Volume is a volume of a host process. It implements host.Volume.
type Volume struct {
	address address
	options Options
	http    *http.Transport

	mu     sync.Mutex
	users  int // this handle and its writers; guarded by mu
	closed bool
}

var _ host.Volume = (*Volume)(nil)

// Open opens the volume at a URL: unix:SOCKET#VOLUME, https://HOST:PORT/VOLUME,
// or http://127.0.0.1:PORT/VOLUME. ErrNotFound if the host has no such volume. It
// does not wait for a host process that is not there: ErrUnreachable.
func Open(ctx context.Context, url string, o Options) (*Volume, error) {
	v, err := newVolume(url, o)
	if err != nil {
		return nil, fmt.Errorf("open volume: %w", err)
	}
	if _, err := v.status(ctx, v.once); err != nil {
		v.http.CloseIdleConnections()
		return nil, fmt.Errorf("open volume %q: %w", url, err)
	}
	return v, nil
}

// Create has the host process make an empty volume at a URL. ErrExists if there
// is one, ErrNoSpace if the host keeps as many as it will.
func Create(ctx context.Context, url string, o Options) error {
	v, err := newVolume(url, o)
	if err != nil {
		return fmt.Errorf("create volume: %w", err)
	}
	defer v.http.CloseIdleConnections()
	if _, err := v.once(ctx, request{method: http.MethodPut}); err != nil {
		return fmt.Errorf("create volume %q: %w", url, err)
	}
	return nil
}

func newVolume(url string, o Options) (*Volume, error) {
	a, err := parseURL(url)
	if err != nil {
		return nil, err
	}
	if o.Patience <= 0 {
		o.Patience = defaultPatience
	}
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	return &Volume{address: a, options: o, http: newTransport(a, o), users: 1}, nil
}

func newTransport(a address, o Options) *http.Transport {
	var dialer net.Dialer
	t := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, a.network, a.dial)
		},
		Proxy: nil, DisableCompression: true,
		MaxConnsPerHost: maxConnections, MaxIdleConnsPerHost: maxConnections, IdleConnTimeout: 2 * wire.Ping,
		MaxResponseHeaderBytes: 16 << 10, WriteBufferSize: 64 << 10, ReadBufferSize: 64 << 10,
		TLSHandshakeTimeout: o.Timeout,
		TLSNextProto:        map[string]func(string, *tls.Conn) http.RoundTripper{}, // no HTTP/2
	}
	if a.tls {
		c := o.TLS.Clone()
		if c == nil {
			c = &tls.Config{}
		}
		c.MinVersion, c.NextProtos = tls.VersionTLS13, []string{"http/1.1"}
		t.TLSClientConfig = c
	}
	return t
}

// Close implements host.Volume. Writers stay usable.
func (v *Volume) Close() error {
	v.mu.Lock()
	closed := v.closed
	v.closed = true
	v.mu.Unlock()
	if !closed {
		v.drop()
	}
	return nil
}

func (v *Volume) keep() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.users++
}

func (v *Volume) drop() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.users--; v.users == 0 {
		v.http.CloseIdleConnections()
	}
}

// Status is what the host process says of the volume.
func (v *Volume) Status(ctx context.Context) (wire.Status, error) { return v.status(ctx, v.retry) }

func (v *Volume) status(ctx context.Context, do doer) (st wire.Status, err error) {
	b, err := do(ctx, request{method: http.MethodGet, limit: wire.MaxStatus})
	if err != nil {
		return st, err
	}
	if err := json.Unmarshal(b.body, &st); err != nil {
		return st, fmt.Errorf("%w: %w", ErrAnswer, err)
	}
	st.Owner = printable(st.Owner, wire.MaxOwner)
	return st, nil
}

// Get implements host.Reader.
func (v *Volume) Get(ctx context.Context, name string) (host.Record, error) {
	return get(ctx, v.retry, name)
}

// Read implements host.Reader.
func (v *Volume) Read(ctx context.Context, id host.SegmentID, off int64, p []byte) (int, error) {
	return read(ctx, v.retry, id, off, p)
}

// Segments implements host.Reader.
func (v *Volume) Segments(ctx context.Context) ([]host.SegmentInfo, error) {
	return segments(ctx, v.retry)
}

// once tries a call once.
func (v *Volume) once(ctx context.Context, r request) (answer, error) {
	a, err := v.do(ctx, r)
	switch {
	case err == nil || ctx.Err() != nil:
	case isCut(err) || err == errBusy:
		err = fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	return a, err
}

// retry tries a call that has its effect once, however often it is made, until
// there is an answer.
func (v *Volume) retry(ctx context.Context, r request) (answer, error) {
	p := v.patience(ctx)
	for {
		a, err := v.do(ctx, r)
		if !isCut(err) && err != errBusy {
			return a, err
		}
		if err := p.wait(err); err != nil {
			return answer{}, err
		}
	}
}

// patience bounds the tries of one call.
type patience struct {
	ctx   context.Context
	until time.Time
	pause time.Duration
}

func (v *Volume) patience(ctx context.Context) *patience {
	return &patience{ctx, time.Now().Add(v.options.Patience), pauseMin}
}

// wait returns when it is time to try again. It fails when there is no more time
// for that, with an error that is no refusal.
func (p *patience) wait(err error) error {
	if p.ctx.Err() != nil {
		return context.Cause(p.ctx)
	}
	if time.Now().After(p.until) {
		return fmt.Errorf("%w: %v", ErrUnreachable, err)
	}
	select {
	case <-p.ctx.Done():
		return context.Cause(p.ctx)
	case <-time.After(p.pause):
	}
	p.pause = min(2*p.pause, pauseMax)
	return nil
}
