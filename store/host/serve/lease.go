package serve

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/remote/wire"
)

// resumer is what a volume has whose leases outlive a server.
type resumer interface {
	AcquireAs(ctx context.Context, o host.AcquireOptions, token [wire.TokenSize]byte) (host.Writer, error)
	Resume(ctx context.Context, o host.AcquireOptions, token [wire.TokenSize]byte) (host.Writer, error)
}

// adopter is what a resumed writer has.
type adopter interface {
	Adopt(ctx context.Context, id host.SegmentID, capacity, tail int64) error
}

// place is a volume that somebody uses.
type place struct {
	server *Server
	name   string
	users  int // guarded by Server.mu

	mu    sync.Mutex
	lease *lease // guarded by mu; nil if nobody holds the volume by this server
}

// place returns that of a volume; done must be called.
func (s *Server) place(name string) (p *place, done func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p = s.places[name]
	if p == nil {
		p = &place{server: s, name: name}
		s.places[name] = p
	}
	p.users++
	return p, func() { s.leave(p) }
}

func (s *Server) leave(p *place) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.users--; p.users == 0 {
		delete(s.places, p.name)
	}
}

// lease is a volume that a client holds.
type lease struct {
	place  *place
	token  [wire.TokenSize]byte
	owner  string
	leave  func() // the place
	ended  chan struct{}
	volume host.Volume

	mu     sync.RWMutex // shared by calls, exclusive for the end
	writer host.Writer  // nil when it ended; guarded by mu

	segMu    sync.Mutex
	segments map[host.SegmentID]*segment // made or adopted; guarded by segMu
	bytes    int64                       // of all the volume's segments; guarded by segMu
	sizes    map[host.SegmentID]int64    // guarded by segMu

	connMu sync.Mutex
	conns  int         // guarded by connMu
	idle   *time.Timer // runs while there are none; guarded by connMu
}

// segment remembers the last call that changed a segment, which is recognized
// when it comes again.
type segment struct {
	mu      sync.Mutex
	request string // of the last append, or of the create
}

var errLost = errors.New("no such lease here")

// acquire is a request for the volume. The same request may come again.
func (s *Server) acquire(ctx context.Context, name string, token [wire.TokenSize]byte, q wire.LeaseRequest) (*lease, error) {
	p, done := s.place(name)
	defer done()
	if !q.Takeover && !q.Resume {
		p.waitForGone(ctx, token)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if l := p.lease; l != nil && l.token == token {
		return l, nil
	}
	return p.begin(ctx, token, q)
}

// waitForGone waits for the end of a lease whose holder is gone, unless he comes
// back.
func (p *place) waitForGone(ctx context.Context, token [wire.TokenSize]byte) {
	p.mu.Lock()
	l := p.lease
	p.mu.Unlock()
	if l == nil || l.token == token || !l.abandoned() && !l.noticeGone(ctx) {
		return
	}
	select {
	case <-l.ended:
	case <-time.After(grace + notice):
	case <-ctx.Done():
	}
}

// begin acquires the volume. p.mu is held.
func (p *place) begin(ctx context.Context, token [wire.TokenSize]byte, q wire.LeaseRequest) (*lease, error) {
	v, err := p.server.backend.Open(p.name)
	if err != nil {
		return nil, err
	}
	w, err := acquireAs(ctx, v, token, q)
	if err != nil {
		return nil, errors.Join(err, v.Close())
	}
	l := &lease{
		place: p, token: token, owner: q.Owner, ended: make(chan struct{}), volume: v, writer: w,
		segments: make(map[host.SegmentID]*segment), sizes: make(map[host.SegmentID]int64),
	}
	if err := l.measure(ctx); err != nil {
		return nil, errors.Join(err, w.Release(context.WithoutCancel(ctx)), v.Close())
	}
	p.end("it was taken over") // whoever held it is fenced by now
	_, l.leave = p.server.place(p.name)
	p.lease = l
	p.server.options.Logger.Info("volume acquired", "volume", p.name, "owner", q.Owner, "resumed", q.Resume, "takeover", q.Takeover)
	return l, nil
}

// acquireAs acquires a volume. One whose leases do not outlive a server can not
// be resumed: its holder is fenced.
func acquireAs(ctx context.Context, v host.Volume, token [wire.TokenSize]byte, q wire.LeaseRequest) (host.Writer, error) {
	o := host.AcquireOptions{Owner: q.Owner, Takeover: q.Takeover}
	r, ok := v.(resumer)
	switch {
	case q.Resume && ok:
		return r.Resume(ctx, o, token)
	case q.Resume:
		return nil, host.ErrFenced
	case ok:
		return r.AcquireAs(ctx, o, token)
	}
	return v.Acquire(ctx, o)
}

// measure adds up the volume's segments, for its quota.
func (l *lease) measure(ctx context.Context) error {
	infos, err := l.writer.Segments(ctx)
	for _, i := range infos {
		l.sizes[i.ID] = i.Size
		l.bytes += i.Size
	}
	return err
}

// find returns the lease of a token for a call. done must be called.
func (s *Server) find(name string, token [wire.TokenSize]byte) (l *lease, done func(), err error) {
	p, leave := s.place(name)
	p.mu.Lock()
	l = p.lease
	p.mu.Unlock()
	leave()
	if l == nil || l.token != token {
		return nil, nil, errLost
	}
	l.mu.RLock()
	if l.writer == nil {
		l.mu.RUnlock()
		return nil, nil, errLost
	}
	return l, l.mu.RUnlock, nil
}

// end gives the volume back. p.mu is held.
func (p *place) end(why string) {
	l := p.lease
	if l == nil {
		return
	}
	p.lease = nil
	l.mu.Lock()
	w := l.writer
	l.writer = nil
	l.mu.Unlock()
	l.connMu.Lock()
	if l.idle != nil {
		l.idle.Stop()
	}
	l.connMu.Unlock()
	err := errors.Join(w.Release(context.Background()), l.volume.Close())
	if err != nil {
		p.server.options.Logger.Warn("volume was not given back cleanly", "volume", p.name, "error", err)
	}
	close(l.ended)
	l.leave()
	p.server.options.Logger.Info("volume given back", "volume", p.name, "owner", l.owner, "why", why)
}

// release is what a client does that no longer wants the volume.
func (s *Server) release(name string, token [wire.TokenSize]byte) {
	p, done := s.place(name)
	defer done()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lease != nil && p.lease.token == token {
		p.end("it was released")
	}
}

func (l *lease) connected() {
	l.connMu.Lock()
	defer l.connMu.Unlock()
	l.conns++
	if l.idle != nil {
		l.idle.Stop()
		l.idle = nil
	}
}

// disconnected starts the wait for the client to come back.
func (l *lease) disconnected() {
	l.connMu.Lock()
	defer l.connMu.Unlock()
	if l.conns--; l.conns == 0 && l.idle == nil {
		l.idle = time.AfterFunc(grace, l.expire)
	}
}

// abandoned reports whether there is no connection to the holder.
func (l *lease) abandoned() bool {
	l.connMu.Lock()
	defer l.connMu.Unlock()
	return l.idle != nil
}

// noticeGone waits a moment for the end of the last connection to the holder.
func (l *lease) noticeGone(ctx context.Context) bool {
	end := time.After(notice)
	for {
		select {
		case <-end:
			return false
		case <-ctx.Done():
			return false
		case <-time.After(notice / 20):
			if l.abandoned() {
				return true
			}
		}
	}
}

func (l *lease) expire() {
	l.place.mu.Lock()
	defer l.place.mu.Unlock()
	if l.place.lease == l && l.abandoned() {
		l.place.end("its client is gone")
	}
}

// segment returns what is remembered of a segment: nothing if there is none.
func (l *lease) segment(id host.SegmentID) *segment {
	l.segMu.Lock()
	defer l.segMu.Unlock()
	g := l.segments[id]
	if g == nil {
		g = &segment{}
		if _, ok := l.sizes[id]; ok {
			l.segments[id] = g
		}
	}
	return g
}

// reserve takes room for a segment from the quota.
func (l *lease) reserve(id host.SegmentID, capacity int64) error {
	quota := l.place.server.options.Quota
	held := l.held(quota) // lists the disk, while other calls go on
	l.segMu.Lock()
	defer l.segMu.Unlock()
	if _, ok := l.sizes[id]; ok {
		return host.ErrExists
	}
	if quota > 0 && (capacity > quota || l.bytes+held > quota-capacity) {
		return fmt.Errorf("the volume has %d of %d bytes, and its points keep %d of deleted segments: %w", l.bytes, quota, held, host.ErrNoSpace)
	}
	if len(l.sizes) >= MaxSegments {
		return fmt.Errorf("the volume has %d segments: %w", len(l.sizes), host.ErrNoSpace)
	}
	l.sizes[id] = capacity
	l.bytes += capacity
	return nil
}

// holder is what a volume has that keeps points.
type holder interface {
	HeldBytes(ctx context.Context) (int64, error)
}

// held is what the volume's points keep, if it matters. What can't be told does not
// count: the disk is there all the same.
func (l *lease) held(quota int64) int64 {
	h, ok := l.volume.(holder)
	if !ok || quota == 0 {
		return 0
	}
	n, err := h.HeldBytes(context.Background())
	if err != nil {
		l.place.server.options.Logger.Warn("points can't be listed", "volume", l.place.name, "error", err)
	}
	return n
}

// remember notes which call made a segment.
func (l *lease) remember(id host.SegmentID, request string) {
	l.segMu.Lock()
	defer l.segMu.Unlock()
	l.segments[id] = &segment{request: request}
}

// free gives it back.
func (l *lease) free(id host.SegmentID) {
	l.segMu.Lock()
	defer l.segMu.Unlock()
	l.bytes -= l.sizes[id]
	delete(l.sizes, id)
	delete(l.segments, id)
}
