package serve_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/remote"
	"github.com/coffer-fs/coffer/store/host/serve"
)

// work is a writer's history, and what must be there for it.
type work struct {
	w        host.Writer
	segments map[host.SegmentID][]byte
	synced   map[host.SegmentID]int
	record   []byte
	version  host.Version
	next     host.SegmentID
}

func newWork(w host.Writer) *work {
	return &work{w: w, segments: make(map[host.SegmentID][]byte), synced: make(map[host.SegmentID]int)}
}

// step makes one random change. An error is returned with nothing noted.
func (k *work) step(r *rand.Rand) error {
	const capacity = 256 << 10
	id := host.SegmentID(0)
	for i := range k.segments {
		if id == 0 || r.IntN(2) == 0 {
			id = i
		}
	}
	have := k.segments[id]
	switch n := r.IntN(10); {
	case id == 0 || n == 0:
		err := k.w.Create(ctx, k.next+1, capacity)
		k.next++
		if errors.Is(err, host.ErrExists) {
			return nil // made by a try that seemed to fail, and not ours
		} else if err != nil {
			return fmt.Errorf("create: %w", err)
		}
		k.segments[k.next] = nil
	case n < 6:
		p := make([]byte, 1+r.IntN(8000))
		for i := range p {
			p[i] = byte(r.Uint32())
		}
		if len(have)+len(p) > capacity {
			if err := k.w.Delete(ctx, id); err != nil {
				return fmt.Errorf("delete: %w", err)
			}
			delete(k.segments, id)
			delete(k.synced, id)
			return nil
		}
		if err := k.w.Append(ctx, id, int64(len(have)), p); err != nil {
			return fmt.Errorf("append: %w", err)
		}
		k.segments[id] = append(have, p...)
	case n < 8:
		if err := k.w.Sync(ctx, id); err != nil {
			return fmt.Errorf("sync: %w", err)
		}
		k.synced[id] = len(have)
	default:
		value := fmt.Appendf(nil, "value %d", r.Uint64())
		v, err := k.w.Swap(ctx, "root", k.version, value)
		if err != nil {
			return fmt.Errorf("swap: %w", err)
		}
		k.record, k.version = value, v
	}
	return nil
}

// check reads everything.
func (k *work) check(t *testing.T, from host.Reader) {
	t.Helper()
	for id, want := range k.segments {
		got := make([]byte, len(want))
		if len(got) == 0 {
			continue
		}
		if n, err := from.Read(ctx, id, 0, got); err != nil || n != len(want) {
			t.Errorf("segment %d: %d of %d bytes: %v", id, n, len(want), err)
		} else if !bytes.Equal(got, want) {
			t.Errorf("segment %d is not what was appended", id)
		}
	}
	if k.version == "" {
		return
	}
	if rec, err := from.Get(ctx, "root"); err != nil || rec.Version != k.version || !bytes.Equal(rec.Value, k.record) {
		t.Errorf("record is %q in version %q (%v), want %q in %q", rec.Value, rec.Version, err, k.record, k.version)
	}
}

// cutter passes bytes on between a client and a server, and cuts connections
// after some.
type cutter struct {
	t      *testing.T
	server string
	mu     sync.Mutex
	r      *rand.Rand
	calm   bool
	cuts   int
	conns  []net.Conn
	gone   bool
}

func newCutter(t *testing.T, server string, r *rand.Rand) (c *cutter, socket string) {
	socket = filepath.Join(shortDir(t), "c")
	l, err := net.Listen("unix", socket)
	must(t, err)
	c = &cutter{t: t, server: server, r: r}
	var group sync.WaitGroup
	group.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			group.Go(func() { c.pass(in) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		group.Wait()
	})
	return c, socket
}

// budget is how many bytes may pass one way.
func (c *cutter) budget() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.calm {
		return 1 << 40
	}
	if c.r.IntN(3) == 0 {
		return c.r.Int64N(400)
	}
	return c.r.Int64N(60000)
}

func (c *cutter) pass(in net.Conn) {
	defer in.Close()
	out, err := net.Dial("unix", c.server)
	if err != nil {
		return
	}
	defer out.Close()
	c.mu.Lock()
	c.conns = append(c.conns, out)
	gone := c.gone
	c.mu.Unlock()
	if gone {
		return
	}
	var group sync.WaitGroup
	move := func(to, from net.Conn) {
		if _, err := io.CopyN(to, from, c.budget()); err == nil {
			c.mu.Lock()
			c.cuts++
			c.mu.Unlock()
		}
		in.Close()
		out.Close()
	}
	group.Go(func() { move(out, in) })
	group.Go(func() { move(in, out) })
	group.Wait()
}

// drop cuts everything, for good: the client is dead to the server.
func (c *cutter) drop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gone = true
	for _, conn := range c.conns {
		conn.Close()
	}
}

func (c *cutter) set(calm bool) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calm = calm
	for _, conn := range c.conns { // what comes next is another connection
		conn.Close()
	}
	c.conns = nil
	return c.cuts
}

// newRand returns a source of the test's own, whose seed is printed if it fails.
func newRand(t *testing.T) *rand.Rand {
	seed := uint64(time.Now().UnixNano())
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("seed %d", seed)
		}
	})
	return rand.New(rand.NewPCG(seed, 1))
}

// Connections break after any byte, in both directions: each call has its effect
// once, or says that it does not know.
func TestCutAnywhere(t *testing.T) {
	r := newRand(t)
	server := start(t, newDir(t), serve.Options{})
	c, socket := newCutter(t, server, rand.New(rand.NewPCG(r.Uint64(), 2)))
	must(t, remote.Create(ctx, "unix:"+server+"#v", remote.Options{}))
	c.set(true)
	v, err := remote.Open(ctx, "unix:"+socket+"#v", remote.Options{})
	must(t, err)
	defer v.Close()
	w, err := v.Acquire(ctx, host.AcquireOptions{Owner: "test"})
	must(t, err)
	k := newWork(w)
	c.set(false)
	for range 300 {
		must(t, k.step(r))
	}
	if cuts := c.set(true); cuts < 10 {
		t.Errorf("only %d connections were cut", cuts)
	}
	k.check(t, w)
	must(t, w.Release(ctx))
	k.check(t, v)
}
