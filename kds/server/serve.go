package server

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// Limits of a listener.
const (
	// MaxConnections is how many connections are open at once; more wait to
	// be accepted.
	MaxConnections = 1024
	// MaxHeaderBytes is the largest header of a request.
	MaxHeaderBytes = 8 << 10
	// StopTimeout is how long running requests may take after the stop.
	StopTimeout = 10 * time.Second

	headerTimeout = 5 * time.Second
	writeTimeout  = 30 * time.Second
	idleTimeout   = time.Minute
)

// Serve answers on l until ctx ends; then it takes no more requests, finishes
// those that run, and returns nil.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	h := &http.Server{
		Handler: s, MaxHeaderBytes: MaxHeaderBytes, ReadHeaderTimeout: headerTimeout,
		WriteTimeout: writeTimeout, IdleTimeout: idleTimeout,
		ErrorLog: slog.NewLogLogger(s.o.Logger.Handler(), slog.LevelWarn),
	}
	failed := make(chan error, 1)
	go func() { failed <- h.Serve(&bounded{Listener: l, slots: make(slots, MaxConnections), done: ctx.Done()}) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), StopTimeout)
	defer cancel()
	err := h.Shutdown(stop)
	if err != nil {
		err = errors.Join(err, h.Close())
	}
	<-failed
	return err
}

// bounded is a listener with a limit of open connections.
type bounded struct {
	net.Listener
	slots slots
	done  <-chan struct{}
}

// Accept implements net.Listener.
func (b *bounded) Accept() (net.Conn, error) {
	select {
	case b.slots <- struct{}{}:
	case <-b.done:
		return nil, net.ErrClosed
	}
	c, err := b.Listener.Accept()
	if err != nil {
		b.slots.give()
		return nil, err
	}
	return &conn{Conn: c, give: sync.OnceFunc(b.slots.give)}, nil
}

// conn gives its slot back when it is closed.
type conn struct {
	net.Conn
	give func()
}

// Close implements net.Conn.
func (c *conn) Close() error {
	defer c.give()
	return c.Conn.Close()
}
