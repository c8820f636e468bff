package serve

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/remote/wire"
)

// call is one request.
type call struct {
	*Server
	w http.ResponseWriter
	r *http.Request
}

// errBusy: nothing happened, and the client may try again.
var errBusy = errors.New("too many large requests at once")

// errEnd: a read of nothing but what lies behind a segment's end.
var errEnd = errors.New("past the end of the segment")

// ServeHTTP implements http.Handler: limit, check the token, answer.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := &call{s, w, r}
	c.limit(r.ContentLength)
	if s.access(r) == accessNone {
		c.refuse(wire.CodeUnauthorized, "a token is needed, and this is not the one")
		return
	}
	s.mux.ServeHTTP(w, r)
}

// limit gives the request its time.
func (c *call) limit(size int64) {
	end := time.Now().Add(requestTimeout + time.Duration(min(max(size, 0), host.MaxSegmentSize)/slowestRate)*time.Second)
	rc := http.NewResponseController(c.w)
	// Not to be had in tests without a connection.
	_ = rc.SetReadDeadline(end)
	_ = rc.SetWriteDeadline(end)
}

// routes are the table of docs/host-protocol.md.
func (s *Server) routes() *http.ServeMux {
	m := http.NewServeMux()
	for pattern, do := range map[string]func(*call) error{
		"GET {volume}":                                     (*call).status,
		"PUT {volume}":                                     (*call).create,
		"PUT {volume}/lease":                               (*call).acquire,
		"GET {volume}/lease":                               (*call).ping,
		"DELETE {volume}/lease":                            (*call).release,
		"GET {volume}/records/{record}":                    (*call).getRecord,
		"PUT {volume}/records/{record}":                    (*call).swapRecord,
		"GET {volume}/segments":                            (*call).listSegments,
		"GET {volume}/segments/{id}":                       (*call).readSegment,
		"PUT {volume}/segments/{id}":                       (*call).createSegment,
		"POST {volume}/segments/{id}":                      (*call).appendSegment,
		"DELETE {volume}/segments/{id}":                    (*call).deleteSegment,
		"POST {volume}/sync":                               (*call).sync,
		"POST {volume}/prepare":                            (*call).prepare,
		"POST {volume}/forget":                             (*call).forget,
		"GET {volume}/received":                            (*call).getReceived,
		"GET {volume}/points":                              (*call).listPoints,
		"POST {volume}/points":                             (*call).takePoint,
		"GET {volume}/points/{point}":                      (*call).getPoint,
		"DELETE {volume}/points/{point}":                   (*call).dropPoint,
		"DELETE {volume}/points/{point}/use":               (*call).closePoint,
		"GET {volume}/points/{point}/segments/{id}":        (*call).readPoint,
		"GET {volume}/points/{point}/segments/{id}/digest": (*call).digestPoint,
	} {
		method, path, _ := strings.Cut(pattern, " ")
		pull := method == http.MethodGet && path != "{volume}/lease" || strings.HasPrefix(path, "{volume}/points")
		m.HandleFunc(method+" "+wire.Root+path, func(w http.ResponseWriter, r *http.Request) {
			c := &call{s, w, r}
			if !pull && c.pullOnly() {
				c.refuse(wire.CodeUnauthorized, "this token is for pulling only")
				return
			}
			if err := c.check(do); err != nil {
				c.fail(err)
			}
		})
	}
	return m
}

// pullOnly reports whether a request shows the token that is for pulling only.
func (c *call) pullOnly() bool { return c.access(c.r) == accessPull }

// check runs a call for a volume that may have that name.
func (c *call) check(do func(*call) error) error {
	if err := wire.CheckVolume(c.volume()); err != nil {
		return err
	}
	return do(c)
}

func (c *call) volume() string { return c.r.PathValue("volume") }

// fail answers with an error, and logs those that an operator should see.
func (c *call) fail(err error) {
	code := wire.CodeOf(err)
	switch {
	case errors.Is(err, errLost):
		code = wire.CodeLost
	case errors.Is(err, errBusy):
		code = wire.CodeBusy
	case errors.Is(err, errEnd):
		code = wire.CodeEnd
	}
	if code == wire.CodeFailed && c.r.Context().Err() == nil {
		c.options.Logger.Error("request failed", "method", c.r.Method, "volume", c.volume(), "error", err)
	}
	c.refuse(code, err.Error())
}

// refuse answers with a code. What was not read of the request is not waited for.
func (c *call) refuse(code, reason string) {
	h := c.w.Header()
	h.Set(wire.HeaderError, code)
	h.Set("Content-Type", "text/plain; charset=utf-8")
	if c.r.ContentLength != 0 && c.r.ContentLength > wire.MaxLeaseBody || code == wire.CodeUnauthorized {
		h.Set("Connection", "close")
	}
	c.w.WriteHeader(wire.StatusOf(code))
	_, _ = io.WriteString(c.w, reason[:min(len(reason), wire.MaxReason)])
}

func invalid(format string, args ...any) error {
	return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), host.ErrInvalid)
}

// lease returns the lease whose token the request shows. done must be called.
func (c *call) lease() (l *lease, done func(), err error) {
	token, err := c.leaseToken()
	if err != nil {
		return nil, nil, err
	}
	l, done, err = c.find(c.volume(), token)
	if err == nil {
		c.shown(l)
	}
	return l, done, err
}

// shown notes that the holder of a lease is at the other end.
func (c *call) shown(l *lease) {
	if own, _ := c.r.Context().Value(connKey{}).(*conn); own != nil {
		own.show(l)
	}
}

func (c *call) leaseToken() (token [wire.TokenSize]byte, err error) {
	b, err := hex.DecodeString(c.r.Header.Get(wire.HeaderLease))
	if err != nil || len(b) != wire.TokenSize {
		return token, invalid("%s is not a token of %d bytes", wire.HeaderLease, wire.TokenSize)
	}
	return [wire.TokenSize]byte(b), nil
}

// reader returns what to read from: the lease's writer if a lease is shown, else
// the volume.
func (c *call) reader() (r host.Reader, done func(), err error) {
	if c.r.Header.Get(wire.HeaderLease) != "" {
		l, done, err := c.lease()
		if err != nil {
			return nil, nil, err
		}
		return l.writer, done, nil
	}
	v, err := c.backend.Open(c.volume())
	if err != nil {
		return nil, nil, err
	}
	return v, func() { _ = v.Close() }, nil // nothing was written
}

// number reads a decimal parameter.
func (c *call) number(name string) (int64, error) {
	s := c.r.URL.Query().Get(name)
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, invalid("%s is %.40q", name, s)
	}
	return n, nil
}

func (c *call) segmentID() (host.SegmentID, error) { return wire.ParseSegment(c.r.PathValue("id")) }

// body reads a whole body of at most limit bytes. Its length must be said before.
func (c *call) body(limit int64) ([]byte, error) {
	size := c.r.ContentLength
	if size < 0 || size > limit {
		return nil, invalid("a body of %d bytes, where up to %d are taken", size, limit)
	}
	b := make([]byte, size)
	if _, err := io.ReadFull(c.r.Body, b); err != nil {
		return nil, invalid("the body was cut off: %v", err)
	}
	return b, nil
}

// largeBody is body for appends, of which not all may be in memory at once.
func (c *call) largeBody() (b []byte, done func(), err error) {
	done = func() {}
	if c.r.ContentLength > smallBody {
		wait, cancel := context.WithTimeout(c.r.Context(), requestTimeout)
		defer cancel()
		select {
		case c.large <- struct{}{}:
			done = func() { <-c.large }
		case <-wait.Done():
			return nil, nil, errBusy
		}
		c.limit(c.r.ContentLength)
	}
	if b, err = c.body(host.MaxSegmentSize); err != nil {
		done()
	}
	return b, done, err
}

func (c *call) ok() error {
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

func (c *call) answer(contentType string, b []byte) error {
	c.w.Header().Set("Content-Type", contentType)
	c.w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	_, _ = c.w.Write(b) // who is gone needs no answer
	return nil
}

// decodeLease reads the body of a request for a lease.
func (c *call) decodeLease() (q wire.LeaseRequest, err error) {
	b, err := c.body(wire.MaxLeaseBody)
	if err != nil {
		return q, err
	}
	if err := json.Unmarshal(b, &q); err != nil {
		return q, invalid("%v", err)
	}
	if len(q.Owner) > wire.MaxOwner {
		q.Owner = q.Owner[:wire.MaxOwner]
	}
	return q, nil
}
