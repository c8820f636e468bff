package server

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/coffer-fs/coffer/kds"
)

// slots bounds how many do something at once.
type slots chan struct{}

// take takes a slot if there is one now.
func (s slots) take() bool {
	select {
	case s <- struct{}{}:
		return true
	default:
		return false
	}
}

// wait waits for a slot.
func (s slots) wait(ctx context.Context, most time.Duration) bool {
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case s <- struct{}{}:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}

func (s slots) give() { <-s }

// work does what takes a processor, when there is one. What waits for a disk or for
// another node stays outside: it would keep others from the processors, and requests
// that wait for the same sync of the audit log share it. What waits there is bounded
// all the same, with its memory: it is one of the requests that are being served.
func (s *Server) work(ctx context.Context, do func() error) error {
	if !s.working.wait(ctx, MaxQueueTime) {
		return refuse(http.StatusServiceUnavailable, "the node is busy")
	}
	defer s.working.give()
	return do()
}

// bound gives a request's body its time. It holds for every request that has a
// body, also for one whose body nobody reads: the connection is not given back
// before the body has ended.
func (s *Server) bound(w http.ResponseWriter, r *http.Request) error {
	if r.Body == nil || r.Body == http.NoBody {
		return nil
	}
	err := http.NewResponseController(w).SetReadDeadline(time.Now().Add(s.o.BodyTimeout))
	if errors.Is(err, http.ErrNotSupported) {
		return nil // a test's own writer, which has no slow bodies
	}
	return err
}

// body reads a request's body, within its size and time.
func (s *Server) body(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if r.ContentLength > kds.MaxRequestBytes {
		return nil, refuse(http.StatusRequestEntityTooLarge, "request body is larger than %d bytes", kds.MaxRequestBytes)
	}
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, kds.MaxRequestBytes))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, refuse(http.StatusRequestEntityTooLarge, "request body is larger than %d bytes", kds.MaxRequestBytes)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, refuse(http.StatusRequestTimeout, "request body did not arrive within %v", s.o.BodyTimeout)
	case err != nil:
		return nil, refuse(http.StatusBadRequest, "request body ends early")
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{}) // it was for the body, not for the answer
	return b, nil
}
