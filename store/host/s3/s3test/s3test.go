// Package s3test is a small object store for tests: what store/host/s3 asks of an
// S3-compatible store and no more, over the real wire or, where thousands of runs are
// wanted, without one. It can refuse, drop and delay requests, and do them when nobody
// expects that any more; it counts, and it can be copied as it is at an instant. A
// real one is tested beside it.
package s3test

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Fault says what becomes of a request.
type Fault int

const (
	// None: it is answered.
	None Fault = iota
	// Before: it has no effect, and the connection breaks.
	Before
	// After: it has its effect, and the connection breaks before the answer.
	After
	// Busy: it has no effect; status 503.
	Busy
	// Failed: it has its effect; status 500.
	Failed
	// Late: the connection breaks, and it has its effect a few requests later.
	Late
)

// lateness is how many requests come before one that is Late.
const lateness = 6

// Server is an object store with one bucket, of any name.
type Server struct {
	URL string

	faults sync.Mutex // held while fault is called; before mu
	fault  func(method, object string) Fault

	mu      sync.Mutex
	accept  string // the only access key that it accepts; empty: any
	watch   func(method, object string)
	objects map[string]object
	counts  map[string]int
	pending []*pending // requests that arrived, and had no effect yet
}

type object struct {
	data []byte
	tag  string
}

// New starts a server that ends with the test.
func New(t testing.TB) *Server {
	s := Quiet(nil)
	h := httptest.NewServer(s)
	t.Cleanup(h.Close)
	s.URL = h.URL
	return s
}

// Quiet is a server that only its Transport reaches, with the objects of a State; nil
// for none.
func Quiet(of *State) *Server {
	s := &Server{URL: "http://127.0.0.1:1", objects: make(map[string]object), counts: make(map[string]int)}
	if of != nil {
		maps.Copy(s.objects, of.objects)
	}
	return s
}

// Break has f decide what becomes of each request, one after the other; nil ends
// that. object is without bucket.
func (s *Server) Break(f func(method, object string) Fault) {
	s.faults.Lock()
	defer s.faults.Unlock()
	s.fault = f
}

// Watch has f called with each request before it has its effect, by several goroutines
// at once; nil ends that. f may take its time.
func (s *Server) Watch(f func(method, object string)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watch = f
}

// Accept has requests with another access key refused. Signatures are not looked at: a
// real server does that.
func (s *Server) Accept(accessKey string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.accept = accessKey
}

func (s *Server) accepts(r *http.Request) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.accept == "" || strings.Contains(r.Header.Get("Authorization"), " Credential="+s.accept+"/")
}

// Counts gives the requests since the last call, by kind: GET, PUT, DELETE, LIST.
func (s *Server) Counts() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.counts
	s.counts = make(map[string]int)
	return c
}

// Objects gives the names of all objects, in order.
func (s *Server) Objects() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.objects))
}

// Sizes gives the size of each object whose name begins so.
func (s *Server) Sizes(prefix string) map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	sizes := make(map[string]int)
	for name, o := range s.objects {
		if strings.HasPrefix(name, prefix) {
			sizes[name] = len(o.data)
		}
	}
	return sizes
}

// Get gives an object's bytes, nil if it is not there.
func (s *Server) Get(name string) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.objects[name].data)
}

// Put replaces an object, or deletes it if data is nil.
func (s *Server) Put(name string, data []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if data == nil {
		delete(s.objects, name)
		return
	}
	s.objects[name] = object{slices.Clone(data), newTag()}
}

func newTag() string {
	var b [16]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // it did not arrive whole
	}
	if !s.accepts(r) {
		refuse(w, http.StatusForbidden, "InvalidAccessKeyId")
		return
	}
	p := newPending(r, body)
	fault := s.arrive(p)
	switch fault {
	case Before:
		panic(http.ErrAbortHandler)
	case Late:
		s.postpone(p)
		panic(http.ErrAbortHandler)
	case Busy:
		refuse(w, http.StatusServiceUnavailable, "SlowDown")
		return
	case After, Failed:
		s.do(p, httptest.NewRecorder())
		if fault == After {
			panic(http.ErrAbortHandler)
		}
		refuse(w, http.StatusInternalServerError, "InternalError")
		return
	}
	s.do(p, w)
}

// arrive counts a request, and decides what becomes of it.
func (s *Server) arrive(p *pending) (fault Fault) {
	s.mu.Lock()
	s.counts[p.kind]++
	watch := s.watch
	s.pending = append(s.pending, p)
	s.overdue()
	s.mu.Unlock()
	if watch != nil {
		watch(p.kind, p.name)
	}
	s.faults.Lock()
	if s.fault != nil {
		fault = s.fault(p.kind, p.name)
	}
	s.faults.Unlock()
	if fault == Before || fault == Busy {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.forget(p)
	}
	return fault
}

// do has a request have its effect.
func (s *Server) do(p *pending, w http.ResponseWriter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget(p)
	s.answer(w, p)
}

func (s *Server) answer(w http.ResponseWriter, p *pending) {
	switch p.kind {
	case "LIST":
		s.list(w, p.request)
	case http.MethodGet:
		s.get(w, p.request, p.name)
	case http.MethodPut:
		s.put(w, p.request, p.name, p.body)
	case http.MethodDelete:
		delete(s.objects, p.name)
		w.WriteHeader(http.StatusNoContent)
	default:
		refuse(w, http.StatusMethodNotAllowed, "MethodNotAllowed")
	}
}

func (s *Server) get(w http.ResponseWriter, r *http.Request, name string) {
	o, ok := s.objects[name]
	if !ok {
		refuse(w, http.StatusNotFound, "NoSuchKey")
		return
	}
	w.Header().Set("Etag", quote(o.tag))
	w.Header().Set("Last-Modified", time.Unix(0, 0).UTC().Format(http.TimeFormat))
	if r.Header.Get("If-None-Match") == quote(o.tag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	data, status := o.data, http.StatusOK
	if h := r.Header.Get("Range"); h != "" {
		var first, last int
		if _, err := fmt.Sscanf(h, "bytes=%d-%d", &first, &last); err != nil || first > last || first >= len(data) {
			refuse(w, http.StatusRequestedRangeNotSatisfiable, "InvalidRange")
			return
		}
		data, status = data[first:min(last+1, len(data))], http.StatusPartialContent
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	w.WriteHeader(status)
	_, _ = w.Write(data)
}

func (s *Server) put(w http.ResponseWriter, r *http.Request, name string, body []byte) {
	o, ok := s.objects[name]
	match := r.Header.Get("If-Match")
	switch {
	case match != "" && !ok:
		refuse(w, http.StatusNotFound, "NoSuchKey")
		return
	case r.Header.Get("If-None-Match") == "*" && ok, match != "" && match != quote(o.tag):
		refuse(w, http.StatusPreconditionFailed, "PreconditionFailed")
		return
	}
	o = object{body, newTag()}
	s.objects[name] = o
	w.Header().Set("Etag", quote(o.tag))
	w.WriteHeader(http.StatusOK)
}

func (s *Server) list(w http.ResponseWriter, r *http.Request) {
	type content struct {
		Key          string
		LastModified time.Time
		Size         int
	}
	var page struct {
		XMLName               xml.Name `xml:"ListBucketResult"`
		IsTruncated           bool
		NextContinuationToken string
		Contents              []content
	}
	q := r.URL.Query()
	for _, name := range slices.Sorted(maps.Keys(s.objects)) {
		if !strings.HasPrefix(name, q.Get("prefix")) || name <= max(q.Get("continuation-token"), q.Get("start-after")) {
			continue
		}
		if len(page.Contents) == 1000 {
			page.IsTruncated, page.NextContinuationToken = true, page.Contents[999].Key
			break
		}
		page.Contents = append(page.Contents, content{Key: name, Size: len(s.objects[name].data)})
	}
	w.Header().Set("Content-Type", "application/xml")
	_ = xml.NewEncoder(w).Encode(page)
}

func refuse(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	fmt.Fprintf(w, "<Error><Code>%s</Code><Message>refused by a test</Message></Error>", code)
}

func quote(tag string) string { return `"` + tag + `"` }
