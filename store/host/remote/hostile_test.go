package remote_test

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/remote"
	"github.com/coffer-fs/coffer/store/host/remote/wire"
)

var ctx = context.Background()

// liar answers each request as it likes: what it writes goes to the connection
// as it is.
func liar(t *testing.T, answer func(r *http.Request) string) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		c, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		defer c.Close()
		text, endless := strings.CutSuffix(answer(r), "ENDLESS")
		_, err = io.WriteString(c, text)
		for junk := strings.Repeat("x", 1<<16); endless && err == nil; {
			_, err = io.WriteString(c, junk)
		}
	})}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { s.Close() })
	return "http://" + l.Addr().String() + "/v"
}

const (
	good   = "HTTP/1.1 204 No Content\r\n\r\n"
	status = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
)

// honest lets the client open and acquire the volume, so that other answers
// meet a writer.
func honest(r *http.Request) string {
	switch {
	case strings.HasSuffix(r.URL.Path, "/v"):
		return status
	case strings.HasSuffix(r.URL.Path, "/lease"):
		return good
	}
	return ""
}

// impatient gives up soon.
var impatient = remote.Options{Patience: 50 * time.Millisecond, Timeout: time.Second}

// Whatever comes back, it is an error that is no refusal of a change, within
// bounds.
func TestHostileAnswers(t *testing.T) {
	list := func(id, size uint64) string {
		b := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, id), size)
		return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n%s", b)
	}
	for name, answer := range map[string]string{
		"nothing":             "",
		"junk":                "SSH-2.0-OpenSSH\r\n",
		"a longer body":       "HTTP/1.1 206 Partial Content\r\nContent-Length: 100000000\r\nETag: \"1\"\r\n\r\nENDLESS",
		"no length":           "HTTP/1.1 206 Partial Content\r\nETag: \"1\"\r\n\r\nENDLESS",
		"chunks":              "HTTP/1.1 206 Partial Content\r\nTransfer-Encoding: chunked\r\nETag: \"1\"\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
		"negative length":     "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
		"huge length":         "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
		"a body that is cut":  "HTTP/1.1 200 OK\r\nContent-Length: 10\r\nETag: \"1\"\r\n\r\nhello",
		"endless header":      "HTTP/1.1 200 OK\r\nX: ENDLESS",
		"endless error":       "HTTP/1.1 500 No\r\nCoffer-Error: failed\r\n\r\nENDLESS",
		"an unknown code":     "HTTP/1.1 409 No\r\nCoffer-Error: maybe\r\nContent-Length: 0\r\n\r\n",
		"lost for ever":       "HTTP/1.1 409 No\r\nCoffer-Error: lost\r\nContent-Length: 0\r\n\r\n",
		"busy for ever":       "HTTP/1.1 409 No\r\nCoffer-Error: busy\r\nContent-Length: 0\r\n\r\n",
		"no code":             "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
		"a redirect":          "HTTP/1.1 307 Temporary Redirect\r\nLocation: http://127.0.0.1:1/v1/volumes/v\r\nContent-Length: 0\r\n\r\n",
		"interim for ever":    strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", 5000),
		"end of a change":     "HTTP/1.1 416 No\r\nCoffer-Error: end\r\nContent-Length: 0\r\n\r\n",
		"version of a letter": "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nETag: x\r\n\r\n",
		"empty version":       "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nETag: \"\"\r\n\r\n",
		"segment 0":           list(0, 1),
		"a strange segment":   list(1<<63, 1),
		"a huge segment":      list(1, 1<<63),
		"half a list":         "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n12345678",
	} {
		t.Run(name, func(t *testing.T) {
			url := liar(t, func(r *http.Request) string {
				if h := honest(r); h != "" {
					return h
				}
				return answer
			})
			v, err := remote.Open(ctx, url, impatient)
			if err != nil {
				t.Fatal(err)
			}
			defer v.Close()
			for what, do := range map[string]func(host.Writer) error{
				"get":  func(w host.Writer) error { _, err := w.Get(ctx, "root"); return err },
				"read": func(w host.Writer) error { _, err := w.Read(ctx, 1, 0, make([]byte, 20)); return err },
				"list": func(w host.Writer) error { _, err := w.Segments(ctx); return err },
				"swap": func(w host.Writer) error { _, err := w.Swap(ctx, "root", "", []byte("x")); return err },
			} {
				w, err := v.Acquire(ctx, host.AcquireOptions{})
				if err != nil {
					t.Fatal(err)
				}
				err = do(w)
				harmless := what == "list" && strings.HasPrefix(answer, "HTTP/1.1 200 OK\r\nContent-Length: 0") // an empty list
				if err == nil && !harmless {
					t.Errorf("%s succeeds", what)
				}
				if what == "swap" && host.Refused(err) {
					t.Errorf("%s: %v, which says that nothing happened", what, err)
				}
				_ = w.Release(ctx)
			}
		})
	}
}

// A host process that is started anew again while it is told what the one before it
// knew is told once more.
func TestLostWhileResuming(t *testing.T) {
	const lost = "HTTP/1.1 409 No\r\nCoffer-Error: lost\r\nContent-Length: 0\r\n\r\n"
	var mu sync.Mutex
	known, deaths := true, 0
	url := liar(t, func(r *http.Request) string {
		mu.Lock()
		defer mu.Unlock()
		answer := cmp.Or(honest(r), good)
		dies := r.Method == "POST" && deaths == 0 || r.URL.Query().Has("tail") && deaths == 1
		if dies {
			known = false
			deaths++
		}
		if strings.HasSuffix(r.URL.Path, "/lease") {
			known = true
		} else if !known {
			answer = lost
		}
		return strings.Replace(answer, "\r\n", "\r\nConnection: close\r\n", 1)
	})
	v, err := remote.Open(ctx, url, remote.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	w, err := v.Acquire(ctx, host.AcquireOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Create(ctx, 1, 1<<20), w.Append(ctx, 1, 0, []byte("x")), w.Release(ctx)); err != nil {
		t.Error(err)
	}
	if deaths != 2 {
		t.Errorf("it died %d times", deaths)
	}
}

// The words of a host are shown, but cannot write to a terminal as they like.
func TestHostileWords(t *testing.T) {
	url := liar(t, func(*http.Request) string {
		return "HTTP/1.1 409 No\r\nCoffer-Error: in-use\r\nContent-Length: 15\r\n\r\n\x1b[31mred\nalert\xff"
	})
	_, err := remote.Open(ctx, url, impatient)
	if !errors.Is(err, host.ErrInUse) || strings.ContainsAny(err.Error(), "\x1b\n") || !utf8.ValidString(err.Error()) {
		t.Errorf("%q", err)
	}
}

// A host that takes a connection and says nothing is waited for until the time
// is over, or the caller's context.
func TestSlowAnswers(t *testing.T) {
	stuck := make(chan struct{})
	t.Cleanup(func() { close(stuck) })
	slow := false
	url := liar(t, func(r *http.Request) string {
		if h := honest(r); h != "" && !slow {
			return h
		}
		<-stuck
		return ""
	})
	v, err := remote.Open(ctx, url, remote.Options{Patience: time.Millisecond, Timeout: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	w, err := v.Acquire(ctx, host.AcquireOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Append(ctx, 1, 0, []byte("x")); !errors.Is(err, remote.ErrUnreachable) {
		t.Errorf("append: %v", err)
	}
	brief, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
	defer cancel()
	if _, err := w.Get(brief, "root"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("get: %v", err)
	}
	_ = w.Release(ctx)
}

func TestURLs(t *testing.T) {
	for url, ok := range map[string]bool{
		"unix:sock#vol": true, "unix:/a/b#c#vol": true, "http://127.0.0.1:80/vol": true, "http://[::1]:80/vol": true,
		"https://example.org:443/vol": true,
		"unix:sock":                   false, "unix:#vol": false, "unix:sock#": false, "unix:sock#../vol": false, "unix:sock#a/b": false,
		"http://example.org:80/vol": false, "http://localhost:80/vol": false, "http://10.0.0.1:80/vol": false,
		"http://127.0.0.1/vol": false, "http://127.0.0.1:80/": false, "http://127.0.0.1:80/a/b": false,
		"http://u:p@127.0.0.1:80/vol": false, "http://127.0.0.1:80/vol?x": false, "https://127.0.0.1:80/vol#x": false,
		"ftp://127.0.0.1:80/vol": false, "": false, "vol": false,
	} {
		_, err := remote.Open(ctx, url, remote.Options{Timeout: time.Millisecond})
		if errors.Is(err, remote.ErrURL) == ok {
			t.Errorf("%q: %v", url, err)
		}
	}
}

func FuzzInfos(f *testing.F) {
	f.Add(wire.AppendInfos(nil, []host.SegmentInfo{{ID: 1, Size: 2}, {ID: host.MaxSegmentID, Size: host.MaxSegmentSize}}))
	f.Add([]byte("12345678"))
	f.Fuzz(func(t *testing.T, b []byte) {
		infos, err := wire.ParseInfos(b)
		if err == nil && string(wire.AppendInfos(nil, infos)) != string(b) {
			t.Errorf("%x is read as %v", b, infos)
		}
	})
}
