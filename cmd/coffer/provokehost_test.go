package main

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/coffer-fs/coffer/store/host/remote"
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
