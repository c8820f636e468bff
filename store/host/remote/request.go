package remote

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/remote/wire"
)

// request is one call, which may be tried more than once.
type request struct {
	method string
	path   string // behind the volume
	query  url.Values
	header http.Header
	lease  *[wire.TokenSize]byte
	body   []byte
	limit  int    // the largest body of an answer
	into   []byte // where the answer goes, instead of a body
}

// answer is what came back.
type answer struct {
	body    []byte
	count   int // bytes in request.into
	version string
	forget  bool // the volume was not done with forgetting
}

// slowestRate is how fast bytes must pass, in bytes a second.
const slowestRate = 256 << 10

// do tries a call once. A cutError says that the connection failed, which
// includes that there was none.
func (v *Volume) do(ctx context.Context, r request) (a answer, err error) {
	if err := ctx.Err(); err != nil {
		return a, err
	}
	size := len(r.body) + len(r.into)
	try, cancel := context.WithTimeout(ctx, v.options.Timeout+time.Duration(size/slowestRate)*time.Second)
	defer cancel()
	q, err := v.build(try, r)
	if err != nil {
		return a, err
	}
	resp, err := v.http.RoundTrip(q) // which follows no redirect
	if err != nil {
		return a, &cutError{err}
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return a, refusal(resp)
	}
	return r.receive(resp)
}

func (v *Volume) build(ctx context.Context, r request) (*http.Request, error) {
	u := v.address.base + wire.Root + v.address.volume + r.path
	if len(r.query) > 0 {
		u += "?" + r.query.Encode()
	}
	q, err := http.NewRequestWithContext(ctx, r.method, u, bytes.NewReader(r.body))
	if err != nil {
		return nil, err
	}
	for k, vs := range r.header {
		q.Header[k] = vs
	}
	if r.lease != nil {
		q.Header.Set(wire.HeaderLease, hex.EncodeToString(r.lease[:]))
	}
	if len(v.options.Token) > 0 {
		q.Header.Set("Authorization", "Bearer "+string(v.options.Token))
	}
	return q, nil
}

// receive reads an answer of success, as far as it may go.
func (r request) receive(resp *http.Response) (a answer, err error) {
	size := resp.ContentLength
	limit := int64(max(r.limit, len(r.into)))
	if size < 0 || size > limit {
		return a, fmt.Errorf("%w: %d bytes, where up to %d were asked for", ErrAnswer, size, limit)
	}
	a.version = resp.Header.Get("Etag")
	a.forget = resp.Header.Get(wire.HeaderForget) != ""
	p := r.into
	if p == nil {
		p = make([]byte, size)
		a.body = p
	}
	// net/http reads no more than the length that was said.
	if a.count, err = io.ReadFull(resp.Body, p[:size]); err != nil {
		return a, &cutError{err}
	}
	return a, nil
}

// refusal is the error of an answer that is no success.
func refusal(resp *http.Response) error {
	b, _ := io.ReadAll(io.LimitReader(resp.Body, wire.MaxReason)) // it is for people to read
	reason := printable(string(b), wire.MaxReason)
	switch code := resp.Header.Get(wire.HeaderError); code {
	case wire.CodeLost:
		return errLost
	case wire.CodeBusy:
		return errBusy
	case wire.CodeEnd:
		return io.ErrUnexpectedEOF
	case wire.CodeUnauthorized:
		return ErrUnauthorized
	case wire.CodeFailed:
		return fmt.Errorf("%w: %s", ErrFailed, reason)
	default:
		err := wire.Refusal(code)
		if err == nil {
			return fmt.Errorf("%w: status %d, %q", ErrAnswer, resp.StatusCode, reason)
		}
		return &refusedError{strings.TrimSuffix(reason, ": "+err.Error()), err}
	}
}

// refusedError is a refusal with the reason that the host gives. Its words are
// the host's; only its kind means something.
type refusedError struct {
	reason string
	kind   error
}

func (e *refusedError) Error() string {
	if e.reason == "" || strings.HasSuffix(e.reason, e.kind.Error()) {
		return e.kind.Error()
	}
	return e.reason + ": " + e.kind.Error()
}
func (e *refusedError) Unwrap() error { return e.kind }

// printable is what may be shown of a text of the host.
func printable(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, strings.ToValidUTF8(s, "?"))
	return s[:min(len(s), limit)]
}

// doer makes a call, with retries.
type doer func(context.Context, request) (answer, error)

func get(ctx context.Context, do doer, name string) (rec host.Record, err error) {
	if err := host.CheckRecord(name, nil); err != nil {
		return rec, fmt.Errorf("get record: %w", err)
	}
	a, err := do(ctx, request{method: http.MethodGet, path: "/records/" + name, limit: host.MaxRecordSize})
	if err == nil {
		rec.Value = a.body
		rec.Version, err = wire.Unquote(a.version)
		if err != nil {
			err = fmt.Errorf("%w: %w", ErrAnswer, err)
		}
	}
	if err != nil {
		return host.Record{}, fmt.Errorf("get record %q: %w", name, err)
	}
	return rec, nil
}

func read(ctx context.Context, do doer, id host.SegmentID, off int64, p []byte) (int, error) {
	if err := host.CheckSegment(id, off, len(p)); err != nil {
		return 0, fmt.Errorf("read: %w", err)
	}
	if len(p) == 0 {
		return 0, ctx.Err()
	}
	a, err := do(ctx, request{
		method: http.MethodGet, path: segmentPath(id), into: p,
		header: http.Header{"Range": {fmt.Sprintf("bytes=%d-%d", off, off+int64(len(p))-1)}},
	})
	if err == nil && a.count < len(p) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return a.count, fmt.Errorf("read segment %d, %d bytes at %d: %w", id, len(p), off, err)
	}
	return len(p), nil
}

func segmentPath(id host.SegmentID) string { return fmt.Sprintf("/segments/%d", id) }

func segments(ctx context.Context, do doer) ([]host.SegmentInfo, error) {
	a, err := do(ctx, request{method: http.MethodGet, path: "/segments", limit: wire.MaxInfos})
	if err != nil {
		return nil, fmt.Errorf("list segments: %w", err)
	}
	infos, err := wire.ParseInfos(a.body)
	if err != nil {
		return nil, fmt.Errorf("list segments: %w: %w", ErrAnswer, err)
	}
	return infos, nil
}

// final reports whether an error leaves a writer in a state that nobody knows.
func final(err error) bool { return errors.Is(err, ErrFailed) || errors.Is(err, ErrAnswer) }
