package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/coffer-fs/coffer/kds"
)

// refusal is an error with the status that it is answered with. Whatever else
// goes wrong is a 503 without details.
type refusal struct {
	status int
	reason string
}

func (r *refusal) Error() string { return r.reason }

func refuse(status int, format string, args ...any) error {
	reason := fmt.Sprintf(format, args...)
	return &refusal{status, reason[:min(len(reason), kds.MaxReasonBytes)]}
}

// Refuse is an error that is answered with a status, and with itself as the
// reason.
func Refuse(status int, err error) error { return refuse(status, "%v", err) }

// Route is what is served at a path that is not of the protocol. Body is nil
// for GET. An error of Refuse is told; any other is a 503 without details.
type Route struct {
	Method string
	Serve  func(ctx context.Context, body []byte) (answer any, err error)
}

// route is what is served at a path.
type route struct {
	method string
	open   bool // without API-VERSION and limits: for probes
	serve  func(http.ResponseWriter, *http.Request) (answer any, err error)
}

func (s *Server) table() map[string]route {
	all := map[string]route{
		"/attestation": {method: http.MethodGet, serve: s.attestation},
		"/public":      {method: http.MethodPost, serve: s.public},
		"/private":     {method: http.MethodPost, serve: s.private},
		"/anchor":      {method: http.MethodPost, serve: s.anchor},
		"/master-key":  {method: http.MethodPost, serve: s.masterKey},
		"/orders":      {method: http.MethodPost, serve: s.applyOrders},
		"/healthz":     {method: http.MethodGet, open: true, serve: s.healthz},
		"/readyz":      {method: http.MethodGet, open: true, serve: s.readyz},
	}
	for path, r := range s.o.Routes {
		all[path] = s.more(r)
	}
	return all
}

// more serves a path that is not of the protocol. What it waits for is not known
// here: it takes no processor from the protocol, and few requests.
func (s *Server) more(to Route) route {
	return route{method: to.Method, serve: func(w http.ResponseWriter, r *http.Request) (any, error) {
		if to.Method == http.MethodGet {
			return to.Serve(r.Context(), nil)
		}
		body, err := s.body(w, r)
		if err != nil {
			return nil, err
		}
		if !s.others.take() {
			return nil, refuse(http.StatusTooManyRequests, "too many requests at once for %s and the like", clip(r.URL.Path))
		}
		defer s.others.give()
		return to.Serve(r.Context(), body)
	}}
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	begun := time.Now()
	answer, err := s.serve(w, r)
	status, answer := outcome(answer, err)
	s.metrics.count(s, r.URL.Path, status, time.Since(begun))
	s.o.Logger.LogAttrs(r.Context(), level(status), "kds request",
		slog.String("method", clip(r.Method)), slog.String("path", clip(r.URL.Path)), slog.Int("status", status),
		slog.Duration("took", time.Since(begun)), slog.Any("error", err))

	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	switch status {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", "1")
	case http.StatusRequestTimeout, http.StatusRequestEntityTooLarge:
		w.Header().Set("Connection", "close") // the rest of the body is not read
	}
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(answer) // who went away learns nothing
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) (any, error) {
	if err := s.bound(w, r); err != nil {
		return nil, fmt.Errorf("bound the time of a request: %w", err)
	}
	to, ok := s.routes[r.URL.Path]
	switch {
	case !ok:
		return nil, refuse(http.StatusNotFound, "no such path")
	case r.Method != to.method:
		w.Header().Set("Allow", to.method)
		return nil, refuse(http.StatusMethodNotAllowed, "%s is asked for with %s", r.URL.Path, to.method)
	case to.open:
		return to.serve(w, r)
	}
	if err := s.rates.any(); err != nil {
		return nil, err
	}
	if !s.reading.take() {
		return nil, refuse(http.StatusTooManyRequests, "too many requests at once")
	}
	defer s.reading.give()
	if v := r.Header.Values(kds.VersionHeader); len(v) != 1 || v[0] != kds.Version {
		return nil, refuse(http.StatusBadRequest, "header %s: %s is required", kds.VersionHeader, kds.Version)
	}
	return to.serve(w, r)
}

// clip bounds what the log repeats of a request.
func clip(s string) string { return s[:min(len(s), 40)] }

// outcome is the status and the body of an answer.
func outcome(answer any, err error) (int, any) {
	var r *refusal
	switch {
	case err == nil:
		return http.StatusOK, answer
	case errors.As(err, &r):
		return r.status, kds.Refusal{Reason: r.reason}
	}
	return http.StatusServiceUnavailable, kds.Refusal{Reason: "the node cannot answer now"}
}

func level(status int) slog.Level {
	switch {
	case status >= 500:
		return slog.LevelError
	case status >= 400:
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

// malformed is the refusal of a body.
func malformed(err error) error { return refuse(http.StatusBadRequest, "%v", err) }

func (s *Server) healthz(http.ResponseWriter, *http.Request) (any, error) {
	return map[string]string{"status": "ok"}, nil
}

// readyz: the audit log can be written and every master key can be had.
func (s *Server) readyz(_ http.ResponseWriter, r *http.Request) (any, error) {
	if s.o.Audit.Err() != nil {
		return nil, refuse(http.StatusServiceUnavailable, "audit log cannot be written")
	}
	for t, m := range s.masters {
		if _, err := m.Key(r.Context(), m.Current()); err != nil {
			return nil, refuse(http.StatusServiceUnavailable, "master key of type %s cannot be had", t)
		}
	}
	return map[string]string{"status": "ready"}, nil
}

// masterKey is for the nodes of a cluster, and this node is of none.
func (s *Server) masterKey(http.ResponseWriter, *http.Request) (any, error) {
	return nil, refuse(http.StatusNotFound, "this node is not part of a cluster")
}
