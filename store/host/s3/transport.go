package s3

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/minio/minio-go/v7"
)

const (
	// maxConnections is how many requests are under way at once; more wait.
	maxConnections = 64
	// slowestRate is how fast bytes must pass, in bytes a second.
	slowestRate = 256 << 10
	// maxWords bounds answers that are not asked for by size.
	maxWords = 64 << 10
	// maxListPage bounds one page of a list.
	maxListPage = 8 << 20
)

// transport bounds every request: how long it takes, and how much comes back.
type transport struct {
	base    http.RoundTripper
	timeout time.Duration
}

func newTransport(o Options) *transport {
	base := o.Transport
	if base == nil {
		base = &http.Transport{
			Proxy:              http.ProxyFromEnvironment,
			DialContext:        (&net.Dialer{Timeout: o.Timeout}).DialContext,
			DisableCompression: true, MaxConnsPerHost: maxConnections, MaxIdleConnsPerHost: maxConnections,
			IdleConnTimeout: time.Minute, MaxResponseHeaderBytes: 32 << 10, TLSHandshakeTimeout: o.Timeout,
			WriteBufferSize: 64 << 10, ReadBufferSize: 64 << 10,
			TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: o.RootCAs},
			TLSNextProto:    map[string]func(string, *tls.Conn) http.RoundTripper{}, // no HTTP/2
		}
	}
	return &transport{base, o.Timeout}
}

func (t *transport) close() {
	if c, ok := t.base.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

type limitKey struct{}

// withLimit says how many bytes the answer to a request may have.
func withLimit(ctx context.Context, limit int64) context.Context {
	return context.WithValue(ctx, limitKey{}, limit)
}

type pagesKey struct{}

// maxEmptyPages is how many pages of a list in a row may name nothing.
const maxEmptyPages = 16

// withPages bounds how many pages may come without a name. Whoever lists sets the
// count to 0 at each name.
func withPages(ctx context.Context, empty *atomic.Int32) context.Context {
	return context.WithValue(ctx, pagesKey{}, empty)
}

// nextPage counts one more page, if it is one of a list.
func nextPage(ctx context.Context) error {
	empty, ok := ctx.Value(pagesKey{}).(*atomic.Int32)
	if !ok || empty.Add(1) <= maxEmptyPages {
		return nil
	}
	err := &answerError{fmt.Errorf("list: %d pages without a name", maxEmptyPages)}
	endTry(ctx, err)
	return err
}

var errTooLong = errors.New("the answer is longer than what was asked for")

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	limit, ok := r.Context().Value(limitKey{}).(int64)
	if !ok {
		limit = 0
	}
	if err := nextPage(r.Context()); err != nil {
		return nil, err
	}
	size := max(r.ContentLength, 0) + limit
	ctx, cancel := context.WithTimeout(r.Context(), t.timeout+time.Duration(size/slowestRate)*time.Second)
	resp, err := t.base.RoundTrip(r.WithContext(ctx))
	if err != nil {
		cancel()
		endTry(r.Context(), err)
		return nil, err
	}
	if resp.StatusCode/100 != 2 {
		limit = maxWords
	}
	if isTransient(resp.StatusCode) {
		defer cancel()
		if err := refusedTry(r.Context(), resp); err != nil {
			return nil, err
		}
		return resp, nil
	}
	limit = max(limit, maxWords)
	resp.Body = &boundedBody{resp.Body, cancel, limit}
	return resp, nil
}

// isTransient reports whether a status says that the request may be made again.
func isTransient(status int) bool {
	return status >= 500 || status == http.StatusTooManyRequests || status == http.StatusConflict || status == http.StatusRequestTimeout
}

type tryKey struct{}

// withTry is the context of one try. What fails it ends it, so that the client of the
// store does not wait before it gives up: pauses are made by who tries again.
func withTry(ctx context.Context) (context.Context, context.CancelCauseFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	return context.WithValue(ctx, tryKey{}, cancel), cancel
}

// failedTry is the cause of the end of a try.
type failedTry struct{ error }

func endTry(ctx context.Context, err error) {
	if cancel, ok := ctx.Value(tryKey{}).(context.CancelCauseFunc); ok {
		cancel(failedTry{err})
	}
}

// refusedTry ends a try with what the store said, which is read up to the limit.
func refusedTry(ctx context.Context, resp *http.Response) error {
	words, err := io.ReadAll(io.LimitReader(resp.Body, maxWords))
	_ = resp.Body.Close()
	resp.Body = io.NopCloser(bytes.NewReader(words))
	if err != nil {
		endTry(ctx, err)
		return err
	}
	r := minio.ErrorResponse{StatusCode: resp.StatusCode, Code: http.StatusText(resp.StatusCode)}
	var said struct{ Code, Message string }
	if xml.Unmarshal(words, &said) == nil && said.Code != "" {
		r.Code, r.Message = said.Code, said.Message
	}
	endTry(ctx, r)
	return nil
}

// boundedBody is a body of which no more than so much is read.
type boundedBody struct {
	io.ReadCloser
	cancel context.CancelFunc
	left   int64
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		// The end is an end; anything else is too much.
		var one [1]byte
		n, err := b.ReadCloser.Read(one[:])
		if n > 0 {
			return 0, errTooLong
		}
		return 0, err
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

func (b *boundedBody) Close() error {
	defer b.cancel()
	return b.ReadCloser.Close()
}
