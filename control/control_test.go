package control_test

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coffer-fs/coffer/control"
)

type text struct{ Text string }

func echo(what string) http.Handler {
	mux := http.NewServeMux()
	control.Handle(mux, "/v1/echo", func(_ context.Context, in text) (text, error) {
		if in.Text == "bad" {
			return text{}, fs.ErrExist
		}
		return text{what + in.Text}, nil
	}, func(err error) *control.Failure {
		return &control.Failure{Code: 4, Message: err.Error(), Hint: "another"}
	})
	return mux
}

func ask(t *testing.T, volume, path, say string) (string, error) {
	t.Helper()
	c, err := control.Dial(t.Context(), volume)
	if err != nil {
		return "", err
	}
	defer c.Close()
	var out text
	err = c.Call(t.Context(), path, text{say}, &out)
	return out.Text, err
}

// runtimeDir has sockets made in a directory of the test.
func runtimeDir(t *testing.T) string {
	dir := t.TempDir()
	t.Setenv("XDG_RUNTIME_DIR", dir)
	return filepath.Join(dir, "coffer")
}

func TestControl(t *testing.T) {
	dir := runtimeDir(t)
	volume := t.TempDir()
	if _, err := ask(t, volume, "/v1/echo", "x"); !errors.Is(err, control.ErrNobody) {
		t.Fatalf("nobody serves: %v", err)
	}
	first, err := control.Serve(volume, echo("1"))
	if err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(volume, link); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{volume, volume + "/", link} {
		if got, err := ask(t, name, "/v1/echo", "x"); got != "1x" || err != nil {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if _, err := ask(t, volume+"2", "/v1/echo", "x"); !errors.Is(err, control.ErrNobody) {
		t.Errorf("another volume: %v", err)
	}
	var failed *control.Failure
	if _, err := ask(t, volume, "/v1/echo", "bad"); !errors.As(err, &failed) || failed.Code != 4 || failed.Hint != "another" {
		t.Errorf("failure: %v", err)
	}
	if _, err := ask(t, volume, "/v1/none", "x"); err == nil || errors.As(err, &failed) {
		t.Errorf("unknown path: %v", err)
	}
	if _, err := ask(t, volume, "/v1/echo", string(make([]byte, 1<<20))); err == nil {
		t.Error("a request without end was answered")
	}
	second, err := control.Serve(volume, echo("2"))
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := ask(t, volume, "/v1/echo", "x"); got != "2x" || err != nil {
		t.Errorf("after a takeover: %q, %v", got, err)
	}
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	if es, err := os.ReadDir(dir); err != nil || len(es) > 0 {
		t.Errorf("left behind: %v, %v", es, err)
	}
}

// What the other process says of a failure neither moves the cursor of whoever asked,
// nor makes the failure a success.
func TestControlOfAnotherUser(t *testing.T) {
	runtimeDir(t)
	volume := t.TempDir()
	for _, code := range []int{-1, 0, 256, 1 << 40, 4} {
		s, err := control.Serve(volume, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusConflict)
			_ = json.NewEncoder(w).Encode(control.Failure{Code: code, Message: "no\x1b[2J\nroom\u202e", Hint: "a\rb" + strings.Repeat("x", 1<<20)})
		}))
		if err != nil {
			t.Fatal(err)
		}
		var f *control.Failure
		want := 1
		if code == 4 {
			want = 4
		}
		if _, err := ask(t, volume, "/v1/echo", "x"); !errors.As(err, &f) || f.Code != want || f.Message != "no [2J room " || !strings.HasPrefix(f.Hint, "a bx") || len(f.Hint) > 64<<10 {
			t.Errorf("code %d: %v", code, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// A directory that others may write to is neither used nor believed.
func TestControlOpenDirectory(t *testing.T) {
	dir := runtimeDir(t)
	volume := t.TempDir()
	s, err := control.Serve(volume, echo(""))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := ask(t, volume, "/v1/echo", "x"); !errors.Is(err, control.ErrNobody) {
		t.Errorf("socket in a directory of everybody: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := control.Serve(volume, echo(""))
	if err == nil { // elsewhere
		if es, err := os.ReadDir(dir); err != nil || len(es) > 0 {
			t.Errorf("made a socket there: %v, %v", es, err)
		}
		if err := again.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
