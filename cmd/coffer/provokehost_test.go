package main

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/faulthost"
	"github.com/coffer-fs/coffer/store/host/memhost"
	"github.com/coffer-fs/coffer/store/host/remote"
	"github.com/coffer-fs/coffer/store/host/serve"
)

// wrongAnswer opens a volume where no host process is, but a page of text.
func wrongAnswer(t *testing.T) error {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("<html>It works!</html>"))
	}))
	t.Cleanup(s.Close)
	_, err := remote.Open(ctx, s.URL+"/vol", remote.Options{})
	return err
}

// faulty is a backend with one volume, whose reads fail.
type faulty struct{ h *faulthost.Host }

func (f faulty) Open(string) (host.Volume, error) { return f.h, nil }
func (f faulty) Create(string) error              { return errors.New("not here") }

// hostFails makes a volume at a host process whose disk fails.
func hostFails(t *testing.T) error {
	s := httptest.NewServer(serve.New(faulty{faulthost.New(memhost.New(memhost.Options{}))}, serve.Options{}))
	t.Cleanup(s.Close)
	return remote.Create(ctx, s.URL+"/vol", remote.Options{})
}
