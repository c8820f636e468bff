package serve

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// limitListener accepts so many connections at once.
func limitListener(l net.Listener, count int) net.Listener {
	return &limited{l, make(chan struct{}, count)}
}

type limited struct {
	net.Listener
	slots chan struct{}
}

func (l *limited) Accept() (net.Conn, error) {
	l.slots <- struct{}{}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return &conn{Conn: c, done: sync.OnceFunc(func() { <-l.slots }), leases: make(map[*lease]bool)}, nil
}

// conn is a connection, with the leases that were shown on it.
type conn struct {
	net.Conn
	done func()

	mu     sync.Mutex
	leases map[*lease]bool // guarded by mu
	gone   bool            // guarded by mu
}

func (c *conn) Close() error {
	c.done()
	return c.Conn.Close()
}

// show notes that a lease is used on the connection.
func (c *conn) show(l *lease) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.gone && !c.leases[l] {
		c.leases[l] = true
		l.connected()
	}
}

// forget tells the leases that the connection is gone.
func (c *conn) forget() {
	c.mu.Lock()
	leases := c.leases
	c.leases, c.gone = nil, true
	c.mu.Unlock()
	for l := range leases {
		l.disconnected()
	}
}

// TLS serves a listener over TLS.
func TLS(l net.Listener, cert tls.Certificate) net.Listener {
	return &secured{l, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13, NextProtos: []string{"http/1.1"}}}
}

// secured is a listener whose connections Serve counts below their TLS.
type secured struct {
	net.Listener
	config *tls.Config
}

type connKey struct{}

// rememberConn lets a request know its connection.
func rememberConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, connOf(c))
}

// connOf is the connection below TLS, nil if there is no such one.
func connOf(c net.Conn) *conn {
	if t, ok := c.(interface{ NetConn() net.Conn }); ok {
		c = t.NetConn()
	}
	own, _ := c.(*conn)
	return own
}

func forgetConn(c net.Conn, state http.ConnState) {
	if state == http.StateClosed {
		if own := connOf(c); own != nil {
			own.forget()
		}
	}
}

// section is a range of a segment's file.
type section struct {
	file *os.File
	off  int64
	left int64
}

// Read reads where sendfile can't: into TLS.
func (s *section) Read(p []byte) (int, error) {
	if s.left == 0 {
		return 0, io.EOF
	}
	n, err := s.file.ReadAt(p[:min(int64(len(p)), s.left)], s.off)
	s.off += int64(n)
	s.left -= int64(n)
	if n > 0 {
		err = nil
	}
	return n, err
}

// ReadFrom is what net/http calls for the body of an answer once its header is
// sent. The bytes of a segment go from the file to the socket in the kernel.
func (c *conn) ReadFrom(r io.Reader) (int64, error) {
	s, ok := r.(*section)
	out, raw := c.Conn.(syscall.Conn)
	if !ok || !raw {
		return io.Copy(struct{ io.Writer }{c.Conn}, r)
	}
	return s.send(out)
}

func (s *section) send(out syscall.Conn) (sent int64, err error) {
	to, err := out.SyscallConn()
	if err != nil {
		return 0, err
	}
	from, err := s.file.SyscallConn()
	if err != nil {
		return 0, err
	}
	// The file stays open while it is in use here, even if others close it.
	var sendErr error
	err = from.Control(func(in uintptr) {
		sendErr = to.Write(func(out uintptr) bool {
			for s.left > 0 {
				var n int
				n, err = unix.Sendfile(int(out), int(in), &s.off, int(s.left))
				switch {
				case err == unix.EAGAIN:
					err = nil
					return false
				case err == unix.EINTR:
				case err != nil:
					return true
				case n == 0: // it was cut short
					err = io.ErrUnexpectedEOF
					return true
				default:
					s.left -= int64(n)
					sent += int64(n)
				}
			}
			err = nil
			return true
		})
		if sendErr == nil {
			sendErr = err
		}
	})
	if err == nil {
		err = sendErr
	}
	return sent, err
}
