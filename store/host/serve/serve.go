// Package serve is the host's side of the host protocol: a server that keeps
// volumes for enclaves in other processes (docs/host-protocol.md).
//
// The enclave is a stranger to the host. So everything has a limit: names,
// sizes, counts, bodies, connections and time; and a volume is bound to its
// quota. A request whose body does not arrive whole has no effect.
//
// A lease belongs to a token, not to a connection: a client may come over many,
// and come back. When the last connection is gone that showed the token, the
// volume is given back after a moment, and so it is when the server ends; the
// client can resume it for as long as nobody else acquired it.
//
// Never linked into an enclave. The volumes are those of a Backend, such as Dir.
//
// Lock order, from the outside in:
//
//	place.mu
//	  lease.mu > segment.mu
//	    lease.connMu
//	Server.mu
//	Server.useMu
package serve

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/coffer-fs/coffer/store/host"
)

// Limits of a server, beside those of store/host and of store/host/remote/wire.
const (
	// MaxConnections is how many connections are served at once; more wait.
	MaxConnections = 256
	// MaxSegments is how many segments a volume may have.
	MaxSegments = 1 << 18
	// maxHeaderBytes bounds what a request says before its body.
	maxHeaderBytes = 8 << 10
	// headerTimeout bounds the time until it was said, from when the connection
	// was made or the request began.
	headerTimeout = 10 * time.Second
	// idleTimeout ends connections that nobody uses. Clients ping more often.
	idleTimeout = time.Minute
	// requestTimeout bounds one request, both ways, with a second more for each
	// slowestRate bytes of it.
	requestTimeout = 30 * time.Second
	slowestRate    = 256 << 10
	// smallBody is the largest body that needs no permission to be held in
	// memory, and largeBodies how many others are held at once.
	smallBody   = 1 << 20
	largeBodies = 4
	// maxPrepared bounds what a client may ask to be made ready.
	maxPrepared = 8
	// grace is how long a lease lasts without any connection.
	grace = 3 * time.Second
	// notice is how long whoever finds a volume in use waits for word that its
	// holder's last connection has ended.
	notice = 100 * time.Millisecond
)

// Backend is where the volumes are.
type Backend interface {
	// Open opens a volume. ErrNotFound if there is none.
	Open(name string) (host.Volume, error)
	// Create makes an empty one. ErrExists if there is one.
	Create(name string) error
}

// Options of a Server.
type Options struct {
	// Quota bounds the segments of each volume, in bytes. 0 means no limit but
	// the disk's.
	Quota int64
	// Token is what clients must show. Empty: none, for sockets that only the
	// right ones can reach.
	Token []byte
	// PullToken lets whoever shows it read volumes, and take and read points of them,
	// and change nothing else. Empty: there is none.
	PullToken []byte
	// Logger receives what an operator should know. Default: silent.
	Logger *slog.Logger
}

// Server serves volumes. It is an http.Handler, but knows when a client is gone
// only if Serve is used.
type Server struct {
	backend Backend
	options Options
	token   [sha256.Size]byte
	pull    [sha256.Size]byte
	mux     *http.ServeMux
	http    *http.Server
	large   chan struct{} // permissions for large bodies

	mu     sync.Mutex
	places map[string]*place // by volume, while somebody uses it

	useMu   sync.Mutex
	uses    map[string]*use // points that clients have open; guarded by useMu
	opening int             // calls that open one; guarded by useMu
}

// New returns a server of the volumes of b.
func New(b Backend, o Options) *Server {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{
		backend: b, options: o, token: sha256.Sum256(o.Token), pull: sha256.Sum256(o.PullToken), large: make(chan struct{}, largeBodies),
		places: make(map[string]*place), uses: make(map[string]*use),
	}
	s.mux = s.routes()
	s.http = &http.Server{
		Handler: s, ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes,
		ErrorLog:    slog.NewLogLogger(o.Logger.Handler(), slog.LevelDebug),
		ConnContext: rememberConn, ConnState: forgetConn,
		DisableGeneralOptionsHandler: true,
	}
	return s
}

// Serve answers on l until Shutdown.
func (s *Server) Serve(l net.Listener) error {
	var config *tls.Config
	if t, ok := l.(*secured); ok {
		l, config = t.Listener, t.config
	}
	l = limitListener(l, MaxConnections)
	if config != nil {
		l = tls.NewListener(l, config)
	}
	err := s.http.Serve(l)
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// Shutdown ends the server: no new requests, those under way come to their end
// unless ctx ends before, and the volumes are given back. Their clients can
// resume them at the next server.
func (s *Server) Shutdown(ctx context.Context) error {
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, s.http.Close())
	}
	s.mu.Lock()
	var places []*place
	for _, p := range s.places {
		places = append(places, p)
	}
	s.mu.Unlock()
	for _, p := range places {
		p.mu.Lock()
		p.end("the server ends")
		p.mu.Unlock()
	}
	s.endUses()
	return err
}

// access is what a request may do.
type access int

const (
	accessNone access = iota
	accessPull
	accessAll
)

// access compares the token of a request in constant time.
func (s *Server) access(r *http.Request) access {
	switch {
	case len(s.options.PullToken) > 0 && shows(r, s.pull):
		return accessPull
	case len(s.options.Token) == 0 || shows(r, s.token):
		return accessAll
	}
	return accessNone
}

func shows(r *http.Request, token [sha256.Size]byte) bool {
	const scheme = "Bearer "
	h := r.Header.Get("Authorization")
	if len(h) <= len(scheme) || h[:len(scheme)] != scheme {
		return false
	}
	got := sha256.Sum256([]byte(h[len(scheme):]))
	return subtle.ConstantTimeCompare(got[:], token[:]) == 1
}
