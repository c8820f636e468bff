package s3test

import (
	"errors"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
)

// pending is a request on its way to its effect.
type pending struct {
	request    *http.Request
	kind, name string
	body       []byte
	left       int // Late: so many requests come before it
}

func newPending(r *http.Request, body []byte) *pending {
	_, name, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	p := &pending{request: r, kind: r.Method, name: name, body: body}
	if name == "" {
		p.kind = "LIST"
	}
	return p
}

// forget takes a request off the list. Callers hold mu.
func (s *Server) forget(p *pending) {
	if i := slices.Index(s.pending, p); i >= 0 {
		s.pending = slices.Delete(s.pending, i, i+1)
	}
}

// postpone leaves a request for later.
func (s *Server) postpone(p *pending) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.left = lateness
}

// overdue does what was postponed long enough. Callers hold mu.
func (s *Server) overdue() {
	for _, p := range slices.Clone(s.pending) {
		if p.left == 0 {
			continue
		}
		if p.left--; p.left == 0 {
			s.settle(p)
		}
	}
}

// settle does what was postponed. Callers hold mu.
func (s *Server) settle(p *pending) {
	s.forget(p)
	s.answer(httptest.NewRecorder(), p)
}

// Settle does all that was postponed.
func (s *Server) Settle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range slices.Clone(s.pending) {
		if p.left > 0 {
			s.settle(p)
		}
	}
}

// State is what a server had at an instant, and what was on its way to it.
type State struct {
	objects map[string]object
	pending []*pending
}

// State copies the present state.
func (s *Server) State() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := State{objects: maps.Clone(s.objects)}
	for _, p := range s.pending {
		if p.kind == http.MethodPut || p.kind == http.MethodDelete {
			st.pending = append(st.pending, p)
		}
	}
	return st
}

// Cut is a server as one who crashed leaves it: what was on its way arrived, in any
// order, or did not.
func (st State) Cut(r *rand.Rand) *Server {
	s := Quiet(&st)
	for _, i := range r.Perm(len(st.pending)) {
		if r.IntN(2) == 0 {
			s.answer(httptest.NewRecorder(), st.pending[i])
		}
	}
	return s
}

var errBroken = errors.New("the connection breaks, as the test wants it")

// Transport reaches the server without a wire.
func (s *Server) Transport() http.RoundTripper { return direct{s} }

type direct struct{ server *Server }

// RoundTrip implements http.RoundTripper.
func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	request := r.Clone(r.Context())
	if request.Body == nil {
		request.Body = http.NoBody
	}
	answered := make(chan *http.Response, 1)
	go func() { answered <- d.serve(request) }()
	select {
	case <-r.Context().Done(): // it may have its effect yet
		return nil, r.Context().Err()
	case resp := <-answered:
		if resp == nil {
			return nil, errBroken
		}
		return resp, nil
	}
}

// serve is one request; nil if the connection breaks.
func (d direct) serve(r *http.Request) (resp *http.Response) {
	defer func() {
		_ = r.Body.Close()
		switch p := recover(); p {
		case nil, http.ErrAbortHandler:
		default:
			panic(p)
		}
	}()
	w := httptest.NewRecorder()
	d.server.ServeHTTP(w, r)
	return w.Result()
}
