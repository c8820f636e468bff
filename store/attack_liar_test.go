package store_test

import (
	"bytes"
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

	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/s3"
	"github.com/coffer-fs/coffer/store/host/s3/s3test"
)

// answered is a whole answer of an object store.
type answered struct {
	code   int
	header http.Header
	body   []byte
}

func (a *answered) write(w http.ResponseWriter) {
	maps.Copy(w.Header(), a.header)
	w.Header().Set("Content-Length", strconv.Itoa(len(a.body)))
	w.WriteHeader(a.code)
	_, _ = w.Write(a.body)
}

// liar is in front of a real object store, and lies in the n-th answer that it can lie
// in, or from then on.
type liar struct {
	*prey
	lie    lieOfStore
	nth    int
	sticky bool

	mu    sync.Mutex
	seen  int
	first map[string]answered // the first to a GET of each object
	was   map[string][]byte   // what each object was before the present request
}

// lieOfStore makes a true answer another one, if it can.
type lieOfStore func(l *liar, r *http.Request, body []byte, a *answered) bool

// ServeHTTP implements http.Handler.
func (l *liar) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	rec := httptest.NewRecorder()
	l.gateway.ServeHTTP(rec, r)
	truth := answered{rec.Code, rec.Header(), rec.Body.Bytes()}
	l.turn(r, body, truth).write(w)
}

// turn is what is said instead.
func (l *liar) turn(r *http.Request, body []byte, truth answered) *answered {
	l.mu.Lock()
	defer l.mu.Unlock()
	said := answered{truth.code, truth.header.Clone(), bytes.Clone(truth.body)}
	lied := l.lie(l, r, body, &said)
	if _, ok := l.first[r.URL.Path]; !ok && r.Method == http.MethodGet && truth.code == http.StatusOK {
		l.first[r.URL.Path] = truth
	}
	if isPut(r, &truth) {
		l.was[objectOf(r)] = body
	}
	now := l.lying()
	if lied {
		l.seen++
	}
	if lied && now {
		return &said
	}
	return &truth
}

// lying reports whether this is an answer to lie in.
func (l *liar) lying() bool { return l.seen == l.nth || l.sticky && l.seen > l.nth }

func isList(r *http.Request) bool { return r.URL.Query().Has("list-type") }

// isRead reports whether it is an answer with an object's bytes.
func isRead(r *http.Request, a *answered) bool {
	return r.Method == http.MethodGet && !isList(r) && a.code/100 == 2 && len(a.body) > 0
}

// ofBody lies about the bytes of objects.
func ofBody(change func([]byte) []byte) lieOfStore {
	return func(_ *liar, r *http.Request, _ []byte, a *answered) bool {
		if !isRead(r, a) {
			return false
		}
		a.body = change(a.body)
		return true
	}
}

// ofTag lies about tags.
func ofTag(tag string) lieOfStore {
	return func(_ *liar, _ *http.Request, _ []byte, a *answered) bool {
		if a.header.Get("Etag") == "" {
			return false
		}
		a.header.Set("Etag", tag)
		return true
	}
}

// ofStatus lies about what became of requests.
func ofStatus(code int, about func(*http.Request, *answered) bool) lieOfStore {
	return func(_ *liar, r *http.Request, _ []byte, a *answered) bool {
		if !about(r, a) {
			return false
		}
		a.code, a.body = code, nil
		return true
	}
}

func isPut(r *http.Request, a *answered) bool { return r.Method == http.MethodPut && a.code/100 == 2 }
func isEntry(r *http.Request) bool            { return strings.Contains(r.URL.Path, "/log/") }
func isHead(r *http.Request) bool             { return strings.HasSuffix(r.URL.Path, "/head") }
func conditional(r *http.Request) bool {
	return r.Header.Get("If-Match")+r.Header.Get("If-None-Match") != ""
}
func objectOf(r *http.Request) (name string) { return strings.TrimPrefix(r.URL.Path, "/bucket/") }
func listOf(names ...string) (page []byte)   { return pageOf(false, names...) }
func pageOf(more bool, names ...string) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "<ListBucketResult><IsTruncated>%v</IsTruncated><NextContinuationToken>again</NextContinuationToken>", more)
	for _, name := range names {
		fmt.Fprintf(&b, "<Contents><Key>%s</Key><LastModified>2020-01-01T00:00:00.000Z</LastModified><Size>1</Size></Contents>", name)
	}
	b.WriteString("</ListBucketResult>")
	return []byte(b.String())
}

// ofList lies about lists.
func ofList(page func(prefix string) []byte) lieOfStore {
	return func(_ *liar, r *http.Request, _ []byte, a *answered) bool {
		if !isList(r) {
			return false
		}
		a.code, a.body = http.StatusOK, page(r.URL.Query().Get("prefix"))
		return true
	}
}

// lies are those of a store about reads, tags, conditions, and lists.
var lies = map[string]lieOfStore{
	"body turned":  ofBody(func(b []byte) []byte { return append(b[1:], b[0]) }),
	"body zeroed":  ofBody(func(b []byte) []byte { clear(b); return b }),
	"body cut":     ofBody(func(b []byte) []byte { return b[:len(b)/2] }),
	"body emptied": ofBody(func([]byte) []byte { return nil }),
	"body longer":  ofBody(func(b []byte) []byte { return append(b, pool[:1<<17]...) }),
	"first answer again": func(l *liar, r *http.Request, _ []byte, a *answered) bool {
		first, ok := l.first[r.URL.Path]
		if !ok || r.Method != http.MethodGet || isList(r) || r.Header.Get("Range") != "" {
			return false
		}
		*a = answered{first.code, first.header.Clone(), bytes.Clone(first.body)}
		return true
	},
	"first bytes, new tag": func(l *liar, r *http.Request, _ []byte, a *answered) bool {
		first, ok := l.first[r.URL.Path]
		if ok = ok && isRead(r, a) && r.Header.Get("Range") == ""; ok {
			a.body = bytes.Clone(first.body)
		}
		return ok
	},
	"another object": func(l *liar, r *http.Request, _ []byte, a *answered) bool {
		if !isRead(r, a) || isHead(r) {
			return false
		}
		for _, path := range slices.Sorted(maps.Keys(l.first)) {
			if first := l.first[path]; path != r.URL.Path && len(first.body) >= len(a.body) {
				a.body = bytes.Clone(first.body[:len(a.body)])
				return true
			}
		}
		return false
	},
	"one tag for all": ofTag(`"0123456789abcdef0123456789abcdef"`),
	"strange tag":     ofTag(`"a\r b` + strings.Repeat("x", 300) + `"`),
	"no tag":          ofTag(""),
	"nothing changed": ofStatus(http.StatusNotModified, func(r *http.Request, _ *answered) bool {
		return r.Method == http.MethodGet && r.Header.Get("If-None-Match") != ""
	}),
	"not there":       ofStatus(http.StatusNotFound, isRead),
	"refused":         ofStatus(http.StatusPreconditionFailed, isPut),
	"no such bucket":  ofStatus(http.StatusNotFound, isPut),
	"made, it says":   ofStatus(http.StatusInternalServerError, isPut),
	"not an entry":    ofStatus(http.StatusNotFound, func(r *http.Request, _ *answered) bool { return r.Method == http.MethodGet && isEntry(r) }),
	"entry forgotten": func(l *liar, r *http.Request, _ []byte, a *answered) bool { return l.forget(r, a, isEntry) },
	"head forgotten":  func(l *liar, r *http.Request, _ []byte, a *answered) bool { return l.forget(r, a, isHead) },
	"data forgotten": func(l *liar, r *http.Request, _ []byte, a *answered) bool {
		return l.forget(r, a, func(r *http.Request) bool { return strings.Contains(r.URL.Path, "/data/") })
	},
	"condition ignored": func(l *liar, r *http.Request, body []byte, a *answered) bool {
		if r.Method != http.MethodPut || !conditional(r) || a.code != http.StatusPreconditionFailed {
			return false
		}
		l.gateway.Put(objectOf(r), body)
		*a = answered{code: http.StatusOK, header: http.Header{"Etag": {`"ignored"`}}}
		return true
	},
	"deleted, it says": func(l *liar, r *http.Request, _ []byte, a *answered) bool { return r.Method == http.MethodDelete },
	"empty list":       ofList(func(string) []byte { return listOf() }),
	"list of others":   ofList(func(string) []byte { return listOf("other/head", "zzz") }),
	"list of all": ofList(func(prefix string) []byte {
		return listOf(prefix+"0000000000000000/0000000000000000", prefix+"0000000000000001/0000000000000001", prefix+"../../head", prefix+"ffffffffffffffff/ffffffffffffffff")
	}),
	"list without end":     ofList(func(prefix string) []byte { return pageOf(true, prefix+"0000000000000001/0000000000000001") }),
	"list of empty pages":  ofList(func(string) []byte { return pageOf(true) }),
	"list out of order":    ofList(func(prefix string) []byte { return listOf(prefix+"b", prefix+"a", prefix+"b") }),
	"list that is no list": ofList(func(string) []byte { return []byte("<html>") }),
}

// forget has an object that was put be what it was before, or not be there.
func (l *liar) forget(r *http.Request, a *answered, which func(*http.Request) bool) bool {
	if !isPut(r, a) || !which(r) {
		return false
	}
	if l.lying() {
		name := objectOf(r)
		l.gateway.Put(name, l.was[name])
	}
	return true
}

// A store that lies about what it has, what it did, and how it is listed, while the volume
// is opened, read, written and closed: nothing but what was written is read, nothing goes
// on for ever, and what is found later by who sees the bucket as it is, is a state that
// was, or an error. With an anchor it is not older than what was acknowledged.
func TestA33_LyingBucket(t *testing.T) {
	g, count := s3test.NewGateway(t), 0
	_, plain := newPrey(t, g, false, &count)
	_, anchored := newPrey(t, g, true, &count)
	told := 0
	for i, name := range slices.Sorted(maps.Keys(lies)) {
		hit := false
		for n, nth := range []int{0, 2, 0} {
			l := liar{prey: []*prey{plain, anchored}[(i+n)%2], lie: lies[name], nth: nth, sticky: n == 2}
			what := fmt.Sprintf("%s, from %d, sticky %v, anchor %v", name, l.nth, l.sticky, l.anchor != nil)
			within(t, what, func() { told += l.run(t) })
			if t.Failed() {
				t.Fatal(what)
			}
			hit = hit || l.seen > 0
		}
		if !hit {
			t.Errorf("%q was never told", name)
		}
	}
	t.Logf("%d lies were noticed at once", told)
}

// ofLiar are errors of a store that lies, or seems not to answer.
var ofLiar = []error{
	s3.ErrUnreachable, s3.ErrUncertain, s3.ErrConditions, s3.ErrAnswer, s3.ErrFormat, host.ErrNotFound, host.ErrFenced,
	store.ErrReadOnly, store.ErrRolledBack, store.ErrForked,
}

// run uses a volume through the liar, and looks at it without him.
func (l *liar) run(t *testing.T) (noticed int) {
	p := *l.prey
	p.vault = &vault{history: p.history.fork(p.last)}
	if p.anchor != nil {
		p.anchor = p.anchor.Hold(func() {})
	}
	l.prey, l.first, l.was = &p, map[string]answered{}, map[string][]byte{}
	url := p.lay(p.objects)
	for name, b := range p.objects {
		l.was[p.prefix()+name] = b
	}
	h := httptest.NewServer(l)
	defer h.Close()
	acked, err := l.use(url, h.URL)
	if err != nil {
		typed(t, err, ofLiar...)
		noticed++
	}
	f := p.visit(t, url, p.options(p.gateway.URL), true)
	switch {
	case f.opened != nil:
	case f.state > p.last, p.anchor != nil && f.state < acked:
		t.Errorf("state %d is found, of %d that were acknowledged and %d that were written", f.state, acked, p.last)
	}
	return noticed
}

// use opens the volume where the liar is, reads it all, and writes; it returns which state
// was acknowledged.
func (l *liar) use(url, endpoint string) (acked int, err error) {
	acked = l.last
	o := l.options(endpoint)
	o.Patience = 30 * time.Millisecond
	v, err := s3.Open(bg, url, o)
	if err != nil {
		return acked, err
	}
	defer v.Close()
	reader, err := s3.Open(bg, url, o) // which knows the head of now
	if err != nil {
		return acked, err
	}
	defer reader.Close()
	so := l.storeOptions(false)
	if l.anchor != nil {
		so.Anchor = l.anchor
	}
	so.NodeCacheBytes, so.FrameCacheBytes = 1, 1
	s, err := store.Open(bg, v, so)
	if err != nil {
		return acked, err
	}
	state := l.last
	err = s.View(bg, func(tx *store.Tx) (err error) {
		state, err = readState(tx)
		return err
	})
	for k := range l.items {
		if readErr := l.readOne(s, k, state); readErr != nil {
			err = readErr
		}
	}
	for i := range 3 {
		if state != l.last && i == 0 { // what is written behind it would be another history
			break
		}
		edits := []edit{{key: store.Key{Object: 60, Type: 1}, here: true, content: content{i, 30}}}
		if updateErr := l.update(s, edits, false); updateErr != nil {
			err = updateErr
			break
		}
		if commitErr := s.Commit(bg); commitErr != nil {
			err = commitErr
			break
		}
		acked = l.last
	}
	if closeErr := s.Close(); err == nil {
		err = closeErr
	}
	if _, readErr := reader.Segments(bg); err == nil {
		err = readErr
	}
	return acked, err
}
