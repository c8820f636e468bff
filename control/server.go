package control

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Limits of a request.
const (
	maxRequestBytes = 64 << 10
	headerTimeout   = 10 * time.Second
	closeTimeout    = 5 * time.Second
)

// Server serves a volume until Close.
type Server struct {
	http   *http.Server
	path   string
	inode  uint64
	served chan struct{} // closed when serving has ended
}

// Serve has handler answer for a volume, which this process must have open: who
// served it before is replaced.
func Serve(volume string, handler http.Handler) (*Server, error) {
	l, path, err := listen(socketName(volume))
	if err != nil {
		return nil, fmt.Errorf("serve control of volume %q: %w", volume, err)
	}
	s := &Server{path: path, inode: inodeOf(path), served: make(chan struct{})}
	s.http = &http.Server{
		Handler: http.MaxBytesHandler(handler, maxRequestBytes), ReadHeaderTimeout: headerTimeout,
	}
	go func() {
		defer close(s.served)
		_ = s.http.Serve(&peerListener{l}) // it says only that Close was called
	}()
	return s, nil
}

// Close waits for the requests that were begun, but not for ever.
func (s *Server) Close() error {
	ctx, stop := context.WithTimeout(context.Background(), closeTimeout)
	defer stop()
	if inodeOf(s.path) == s.inode { // nobody replaced it
		_ = os.Remove(s.path)
	}
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, s.http.Close())
	}
	<-s.served
	return err
}

func inodeOf(path string) uint64 {
	var st syscall.Stat_t
	if syscall.Lstat(path, &st) != nil {
		return 0
	}
	return st.Ino
}

// listen makes a socket in the first place that can be had.
func listen(name string) (*net.UnixListener, string, error) {
	var errs error
	for _, p := range places(os.Geteuid()) {
		if err := p.make(); err != nil {
			errs = errors.Join(errs, err)
			continue
		}
		l, err := listenIn(p.dir(), name)
		if err == nil {
			return l, filepath.Join(p.dir(), name), nil
		}
		errs = errors.Join(errs, err)
	}
	return nil, "", errs
}

// listenIn makes a socket under a name of its own and then gives it the right one,
// so that what a dead process left behind is replaced.
func listenIn(dir, name string) (*net.UnixListener, error) {
	temporary := filepath.Join(dir, rand.Text()[:16])
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: temporary, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	if err := os.Rename(temporary, filepath.Join(dir, name)); err != nil {
		return nil, errors.Join(err, l.Close(), os.Remove(temporary))
	}
	return l, nil
}

// peerListener accepts connections of its own user and of root.
type peerListener struct{ *net.UnixListener }

// Accept implements net.Listener.
func (l *peerListener) Accept() (net.Conn, error) {
	for {
		c, err := l.AcceptUnix()
		if err != nil {
			return nil, err
		}
		if uid, err := peer(c); err == nil && (uid == 0 || uid == os.Geteuid()) {
			return c, nil
		}
		_ = c.Close()
	}
}

// peer is the user at the other end, as the kernel says.
func peer(c *net.UnixConn) (uid int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var credErr error
	err = raw.Control(func(fd uintptr) {
		var cred *unix.Ucred
		if cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); credErr == nil {
			uid = int(cred.Uid)
		}
	})
	return uid, errors.Join(err, credErr)
}

// Failure is an error that passes through the socket.
type Failure struct {
	Code    int    `json:"code"` // the exit code of a command that fails like this
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

func (f *Failure) Error() string { return f.Message }

// Handle has fn answer POST requests for path, both ways as JSON. failure says how an
// error of fn is told.
func Handle[In, Out any](mux *http.ServeMux, path string, fn func(context.Context, In) (Out, error), failure func(error) *Failure) {
	mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
		var in In
		d := json.NewDecoder(r.Body)
		d.DisallowUnknownFields()
		if err := d.Decode(&in); err != nil {
			http.Error(w, "malformed request", http.StatusBadRequest)
			return
		}
		out, err := fn(r.Context(), in)
		w.Header().Set("Content-Type", "application/json")
		if err != nil {
			w.WriteHeader(http.StatusConflict)
			_ = json.NewEncoder(w).Encode(failure(err)) // who asked may be gone
			return
		}
		_ = json.NewEncoder(w).Encode(out)
	})
}
