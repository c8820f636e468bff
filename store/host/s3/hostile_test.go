package s3_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/s3"
	"github.com/coffer-fs/coffer/store/host/s3/s3test"
)

// Whatever a store answers, it is an error where it can be told, soon, within bounds, and
// never a refusal that would say that a change certainly did not happen.
func TestHostileAnswers(t *testing.T) {
	t.Parallel()
	endless := func(w http.ResponseWriter, header string) {
		c, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		defer c.Close()
		_, err = c.Write([]byte(header))
		for junk := []byte(strings.Repeat("x", 1<<16)); err == nil; {
			_, err = c.Write(junk)
		}
	}
	for name, answer := range map[string]func(w http.ResponseWriter){
		"nothing":         func(w http.ResponseWriter) { w.WriteHeader(http.StatusOK) },
		"junk":            func(w http.ResponseWriter) { endless(w, "SSH-2.0") },
		"endless":         func(w http.ResponseWriter) { endless(w, "HTTP/1.1 200 OK\r\nEtag: \"x\"\r\n\r\n") },
		"endless header":  func(w http.ResponseWriter) { endless(w, "HTTP/1.1 200 OK\r\nX: ") },
		"endless refusal": func(w http.ResponseWriter) { endless(w, "HTTP/1.1 400 No\r\n\r\n<Error>") },
		"a large length": func(w http.ResponseWriter) {
			endless(w, "HTTP/1.1 200 OK\r\nEtag: \"x\"\r\nLast-Modified: Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Length: 9999999999999\r\n\r\n")
		},
		"a redirect": func(w http.ResponseWriter) {
			w.Header().Set("Location", "http://127.0.0.1:1/")
			w.WriteHeader(http.StatusTemporaryRedirect)
		},
		"a strange status": func(w http.ResponseWriter) { w.WriteHeader(299) },
		"a strange tag": func(w http.ResponseWriter) {
			w.Header().Set("Etag", strings.Repeat("t", 1000))
			w.Header().Set("Last-Modified", "Thu, 01 Jan 1970 00:00:00 GMT")
			w.WriteHeader(http.StatusOK)
		},
		"half a body": func(w http.ResponseWriter) {
			w.Header().Set("Etag", `"x"`)
			w.Header().Set("Last-Modified", "Thu, 01 Jan 1970 00:00:00 GMT")
			w.Header().Set("Content-Length", "100")
			_, _ = w.Write(make([]byte, 50))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inner, hostile := s3test.New(t), false
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if !hostile {
					inner.ServeHTTP(w, r)
					return
				}
				answer(w)
			}))
			defer s.Close()
			o := options(s.URL)
			o.Patience, o.Timeout, o.Beat = 50*time.Millisecond, time.Second, time.Hour
			create(t, url, o)
			v, w := acquire(t, o, false)
			hostile = true
			if _, err := v.Get(ctx, "root"); err == nil || errors.Is(err, host.ErrNotFound) {
				t.Errorf("get: %v", err)
			}
			// That it took a PUT a store may say: who lies there loses the volume.
			if _, err := w.Swap(ctx, "root", "", []byte("x")); host.Refused(err) {
				t.Errorf("swap: %v", err)
			}
			if _, err := s3.Open(ctx, url, o); err == nil {
				t.Error("open succeeds")
			}
		})
	}
}

// A head or an entry with any byte changed is refused, even with a sum that is good,
// or is another head that is as well-formed.
func TestHostileObjects(t *testing.T) {
	t.Parallel()
	server := s3test.New(t)
	o := options(server.URL)
	create(t, url, o)
	_, w := acquire(t, o, false)
	mustFill(t, w, 1, 100, 600<<10)
	if _, err := w.Swap(ctx, "root", "", []byte("x")); err != nil {
		t.Fatal(err)
	}
	entry := server.Get("volumes/v/log/0000000000000001/0000000000000001")
	head := server.Get("volumes/v/head")
	for i := range len(entry) - 1 {
		b := bytes.Clone(entry)
		b[i] ^= 1
		if _, err := s3.ReadEntry(b, 1, 1); err == nil {
			t.Errorf("an entry with byte %d changed is read", i)
		}
	}
	if _, err := s3.ReadEntry(entry, 1, 2); err == nil {
		t.Error("an entry is read as another one")
	}
	for i := range head {
		b := bytes.Clone(head)
		b[i] ^= 1
		if _, err := s3.ReadHead(b); err == nil {
			t.Errorf("a head with byte %d changed is read", i)
		}
		_, _ = s3.ReadHead(s3.Sum(b))
	}
}

// Objects that are spoilt, cut, swapped or gone are errors, never other bytes than
// were written, as far as sums reach; segments' bytes are for the store to verify.
func TestSpoiltVolume(t *testing.T) {
	t.Parallel()
	seed := newSeed(t)
	r := rand.New(rand.NewPCG(seed, 1))
	server := s3test.Quiet(nil)
	o := newStoreVolume(t, server)
	h := &history{slots: make([]uint64, slots)}
	if err := h.session(o, r, 60); err != nil {
		t.Fatal(err)
	}
	h.acked = 0 // a rollback is for anchors to notice
	good := map[string][]byte{}
	for _, name := range server.Objects() {
		good[name] = server.Get(name)
	}
	o.Patience = 20 * time.Millisecond
	for range 150 {
		name := server.Objects()[r.IntN(len(good))]
		b := bytes.Clone(good[name])
		switch r.IntN(4) {
		case 0:
			b = nil
		case 1:
			b = b[:r.IntN(len(b))]
		case 2:
			b[r.IntN(len(b))] ^= 1 << r.IntN(8)
		default:
			b = bytes.Clone(good[server.Objects()[r.IntN(len(good))]])
		}
		server.Put(name, b)
		err := (&history{slots: make([]uint64, slots), last: h.last, was: h.was}).session(o, r, 0)
		if w := (*wrong)(nil); errors.As(err, &w) && !strings.Contains(err.Error(), "damage") && !errors.Is(err, s3.ErrAnswer) {
			t.Errorf("%s: %v", name, err)
		}
		for _, name := range server.Objects() {
			server.Put(name, nil)
		}
		for name, b := range good {
			server.Put(name, b)
		}
	}
}

func FuzzHead(f *testing.F) {
	server := s3test.New(f)
	create(f, url, options(server.URL))
	f.Add(server.Get("volumes/v/head"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < 64 {
			return
		}
		b = s3.Sum(bytes.Clone(b))
		again, err := s3.ReadHead(b)
		if err != nil {
			return
		}
		if _, err := s3.ReadHead(s3.Sum(append(again, make([]byte, 32)...))); err != nil {
			t.Errorf("%x is written as %x: %v", b, again, err)
		}
	})
}

func FuzzJournal(f *testing.F) {
	f.Add([]byte(fmt.Sprintf("coffs3j\x00\x00\x01\x00\x00%024d", 0)))
	f.Fuzz(func(t *testing.T, b []byte) { _, _ = s3.ReadJournal(b) })
}
