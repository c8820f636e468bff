// Package remote keeps an audit log in another process: how a node in an enclave
// reaches the file of its host. Store is the node's side; Handler is the host's.
//
//	GET  /last                      the last batch, empty if there is none
//	POST /append?first=N&lines=M    adds a batch: 204, or 409 if another one ends there
//
// The node trusts nothing that it is told: audit.Open verifies the last batch, and
// whoever lies about what is on the disk can as well lose the disk. It promises that
// a batch is added once, also when the connection is cut and the host process is
// started anew, and that either side waits and remembers within bounds.
//
// Imported by cmd/coffer-kds. Imports kds/audit.
package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/coffer-fs/coffer/kds/audit"
)

// retryWait is the time between two tries.
const retryWait = 50 * time.Millisecond

// ErrAddress: it is neither unix:PATH nor http://LOOPBACK:PORT.
var ErrAddress = errors.New("address of the audit log's keeper is malformed")

// Store is the log that another process keeps.
type Store struct {
	base  string
	token string
	http  *http.Client
}

var _ audit.Store = (*Store)(nil)

// Dial makes a Store for unix:PATH or http://LOOPBACK:PORT. A token that is not
// empty is shown with every request. Nothing is asked yet.
func Dial(address, token string) (*Store, error) {
	t := &http.Transport{MaxIdleConns: 2, DisableCompression: true, ResponseHeaderTimeout: audit.StoreTimeout}
	s := &Store{base: "http://audit", token: token, http: &http.Client{Transport: t,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
	if path, ok := strings.CutPrefix(address, "unix:"); ok && path != "" {
		t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		}
		return s, nil
	}
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" || u.Port() == "" || u.Path != "" && u.Path != "/" || u.User != nil {
		return nil, fmt.Errorf("%w: %q", ErrAddress, address)
	}
	if ip := net.ParseIP(u.Hostname()); ip == nil || !ip.IsLoopback() {
		return nil, fmt.Errorf("%w: %q is not a loopback address", ErrAddress, address)
	}
	s.base = "http://" + u.Host
	return s, nil
}

// Last implements audit.Store.
func (s *Store) Last(ctx context.Context) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, audit.StoreTimeout)
	defer cancel()
	status, text, err := s.ask(ctx, http.MethodGet, "/last", nil)
	if err == nil && status != http.StatusOK {
		err = refused(status, text)
	}
	if err != nil {
		return nil, fmt.Errorf("ask the audit log's keeper: %w", err)
	}
	return text, nil
}

// Append implements audit.Store. What may have had no effect is repeated.
func (s *Store) Append(ctx context.Context, first uint64, lines int, batch []byte) error {
	path := fmt.Sprintf("/append?first=%d&lines=%d", first, lines)
	for {
		status, text, err := s.ask(ctx, http.MethodPost, path, batch)
		switch {
		case err == nil && status == http.StatusNoContent:
			return nil
		case err == nil && status == http.StatusConflict:
			return s.conflict(ctx, batch, text)
		case err == nil:
			return refused(status, text)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the audit log's keeper: %w", err)
		case <-time.After(retryWait):
		}
	}
}

// conflict is no error if the last batch is this one: an answer was lost.
func (s *Store) conflict(ctx context.Context, batch, text []byte) error {
	if last, err := s.Last(ctx); err == nil && bytes.Equal(last, batch) {
		return nil
	}
	return fmt.Errorf("%w: %.300q", audit.ErrConflict, text)
}

func refused(status int, text []byte) error {
	return fmt.Errorf("the audit log's keeper refused with status %d: %.300q", status, text)
}

func (s *Store) ask(ctx context.Context, method, path string, body []byte) (int, []byte, error) {
	r, err := http.NewRequestWithContext(ctx, method, s.base+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	if s.token != "" {
		r.Header.Set("Authorization", "Bearer "+s.token)
	}
	a, err := s.http.Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer a.Body.Close()
	text, err := io.ReadAll(io.LimitReader(a.Body, audit.MaxBatchBytes+1))
	if err == nil && len(text) > audit.MaxBatchBytes {
		err = errors.New("it answers without an end")
	}
	return a.StatusCode, text, err
}
