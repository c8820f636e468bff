package s3_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/hosttest"
	"github.com/coffer-fs/coffer/store/host/s3"
	"github.com/coffer-fs/coffer/store/host/s3/s3test"
)

// rounds is how often what races is tried: more by make s3.
var rounds = flag.Int("s3.rounds", 1, "how often the tests of races and failures run")

// The suite, on a real server: each test has a volume of its own.
func TestHostOnServer(t *testing.T) {
	t.Parallel()
	hostOn(t, s3test.NewGateway(t).URL)
}

// And on one of other people.
func TestHostOnGofakes3(t *testing.T) {
	t.Parallel()
	hostOn(t, s3test.NewGofakes3(t))
}

func hostOn(t *testing.T, server string) {
	count := 0
	hosttest.Run(t, func(t *testing.T) hosttest.Opener {
		count++
		url, o := fmt.Sprintf("s3://bucket/v%d", count), strict(options(server))
		create(t, url, o)
		return func() (host.Volume, error) { return s3.Open(ctx, url, o) }
	})
}

// acquire opens a volume and becomes its writer.
func acquire(t *testing.T, o s3.Options, takeover bool) (*s3.Volume, host.Writer) {
	t.Helper()
	v, err := s3.Open(ctx, url, o)
	if err != nil {
		t.Fatal(err)
	}
	w, err := v.Acquire(ctx, host.AcquireOptions{Owner: t.Name(), Takeover: takeover})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Release(ctx); v.Close() })
	return v, w
}

// pattern is size bytes that no two seeds have in common.
func pattern(size int, seed uint64) []byte {
	p := make([]byte, size)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	_, _ = r.Read(p)
	return p
}

// fill appends and syncs pieces of a segment, small and large.
func fill(w host.Writer, id host.SegmentID, sizes ...int) (all []byte, err error) {
	if err := w.Create(ctx, id, host.MaxSegmentSize); err != nil {
		return nil, err
	}
	for i, size := range sizes {
		p := pattern(size, uint64(id)<<4+uint64(i))
		if err := w.Append(ctx, id, int64(len(all)), p); err != nil {
			return all, err
		}
		if err := w.Sync(ctx, id); err != nil {
			return all, err
		}
		all = append(all, p...)
	}
	return all, nil
}

func mustFill(t *testing.T, w host.Writer, id host.SegmentID, sizes ...int) []byte {
	t.Helper()
	all, err := fill(w, id, sizes...)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// holds expects a segment to be exactly that.
func holds(t *testing.T, r host.Reader, id host.SegmentID, want []byte) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := r.Read(ctx, id, 0, got); err != nil {
		t.Fatalf("segment %d: %v", id, err)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("segment %d reads back wrong", id)
	}
}

var mixed = []int{100, 4096, 1 << 20, 700 << 10, 17 << 20, 8192, 1}

// A server that fails in every way it can, one request in four, changes nothing.
func TestServerFails(t *testing.T) {
	for name, what := range map[string]s3test.Spoil{"503": s3test.Unavailable, "lost": s3test.Lose, "500": s3test.Fail500, "cut": s3test.CutBody, "slow": s3test.Slow} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := s3test.NewGateway(t)
			o := options(g.URL)
			create(t, url, o)
			_, w := acquire(t, o, false)
			var count atomic.Int64
			g.Spoil(func(r *http.Request) s3test.Spoil {
				if count.Add(1)%4 == 0 {
					return what
				}
				return s3test.Pass
			})
			var all [][]byte
			for id := range host.SegmentID(1 + *rounds) {
				all = append(all, mustFill(t, w, id+1, mixed...))
				if _, err := w.Swap(ctx, fmt.Sprintf("r%d", id), "", []byte{byte(id)}); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.Release(ctx); err != nil {
				t.Fatal(err)
			}
			g.Spoil(nil)
			_, w = acquire(t, o, false)
			for i, b := range all {
				holds(t, w, host.SegmentID(i+1), b)
				if r, err := w.Get(ctx, fmt.Sprintf("r%d", i)); err != nil || r.Value[0] != byte(i) {
					t.Errorf("record %d: %v", i, err)
				}
			}
		})
	}
}

// A server that says that a condition does not hold, without having looked, is
// not believed: what is there decides.
func TestServerLies412(t *testing.T) {
	t.Parallel()
	g := s3test.NewGateway(t)
	o := options(g.URL)
	create(t, url, o)
	_, w := acquire(t, o, false)
	mustFill(t, w, 1, 100)
	g.Spoil(func(r *http.Request) s3test.Spoil {
		if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/log/") {
			return s3test.Lie412
		}
		return s3test.Pass
	})
	_, err := fill(w, 2, 100)
	if err == nil || host.Refused(err) || !errors.Is(err, s3.ErrUncertain) {
		t.Errorf("sync: %v", err)
	}
	if err := w.Append(ctx, 2, 100, []byte("x")); err == nil || host.Refused(err) {
		t.Errorf("append after that: %v", err)
	}
	if _, err := w.Get(ctx, "root"); !errors.Is(err, host.ErrNotFound) {
		t.Errorf("get after that: %v", err)
	}
}

// A server that is killed and started anew is waited for; one that stays away is
// an error that says so, and the writer is of no use any more.
func TestServerIsKilled(t *testing.T) {
	t.Parallel()
	g := s3test.NewGateway(t)
	o := options(g.URL)
	create(t, url, o)
	_, w := acquire(t, o, false)
	one := mustFill(t, w, 1, mixed...)
	filled := make(chan error)
	var two []byte
	g.Kill()
	go func() {
		var err error
		two, err = fill(w, 2, mixed...)
		filled <- err
	}()
	g.Start()
	if err := <-filled; err != nil {
		t.Fatal(err)
	}
	holds(t, w, 1, one)
	holds(t, w, 2, two)
	if err := w.Release(ctx); err != nil {
		t.Fatal(err)
	}

	o.Patience = 100 * time.Millisecond
	_, w = acquire(t, o, false)
	g.Kill()
	if _, err := fill(w, 3, 100); !errors.Is(err, s3.ErrUnreachable) || !errors.Is(err, s3.ErrUncertain) || host.Refused(err) {
		t.Errorf("sync: %v", err)
	}
	g.Start()
	if err := w.Sync(ctx, 3); err == nil || host.Refused(err) {
		t.Errorf("sync after an unknown outcome: %v", err)
	}
	holds(t, w, 2, two) // reading goes on
	_, w = acquire(t, o, true)
	holds(t, w, 1, one)
	holds(t, w, 2, two)
}

// Two writers that do not know of each other: one of them is fenced, and what it
// was told is durable is there.
func TestTwoWriters(t *testing.T) {
	t.Parallel()
	g := s3test.NewGateway(t)
	o := options(g.URL)
	o.Beat = time.Hour // nobody tells them
	create(t, url, o)
	_, w := acquire(t, o, false)
	for round := range host.SegmentID(3 + 3**rounds) {
		base := round * 100
		acked := make(chan []byte)
		go func() {
			var all []byte
			err := w.Create(ctx, base+1, host.MaxSegmentSize)
			for n := 0; err == nil; n++ {
				p := pattern(1000, uint64(n))
				if err = w.Append(ctx, base+1, int64(len(all)), p); err == nil {
					if err = w.Sync(ctx, base+1); err == nil {
						all = append(all, p...)
					}
				}
			}
			if !errors.Is(err, host.ErrFenced) {
				t.Errorf("the old writer: %v", err)
			}
			acked <- all
		}()
		_, next := acquire(t, o, true)
		all := <-acked
		if len(all) > 0 {
			holds(t, next, base+1, all)
		}
		mustFill(t, next, base+2, 100)
		if err := w.Release(ctx); err != nil {
			t.Errorf("release the fenced writer: %v", err)
		}
		w = next
	}
}

// A writer that makes many entries while one of who takes over is on its way is
// stopped all the same, and loses nothing that was acknowledged.
func TestTakeoverFromAfar(t *testing.T) {
	t.Parallel()
	for _, lead := range []int{1, 3, 40} {
		server := s3test.Quiet(nil)
		o := direct(server)
		o.Beat = time.Hour
		create(t, url, o)
		_, w := acquire(t, o, false)
		var synced atomic.Int64
		slow := o
		slow.Transport = afar{server.Transport(), func() { // so many entries later
			for want := synced.Load() + int64(lead); synced.Load() < want && synced.Load() >= 0; {
				time.Sleep(time.Millisecond)
			}
		}}
		acked := make(chan []byte)
		go func() {
			var all []byte
			err := w.Create(ctx, 1, host.MaxSegmentSize)
			for err == nil {
				p := pattern(100, uint64(len(all)))
				if err = w.Append(ctx, 1, int64(len(all)), p); err == nil {
					if err = w.Sync(ctx, 1); err == nil {
						all = append(all, p...)
						synced.Add(1)
					}
				}
			}
			if !errors.Is(err, host.ErrFenced) {
				t.Errorf("the old writer: %v", err)
			}
			synced.Store(-1)
			acked <- all
		}()
		_, next := acquire(t, slow, true)
		holds(t, next, 1, <-acked)
		mustFill(t, next, 2, 100)
	}
}

// afar is a way to a store on which PUTs of entries take their time.
type afar struct {
	http.RoundTripper
	wait func()
}

func (a afar) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/log/") {
		a.wait()
	}
	return a.RoundTripper.RoundTrip(r)
}
