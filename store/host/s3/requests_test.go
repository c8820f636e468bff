package s3_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/s3"
	"github.com/coffer-fs/coffer/store/host/s3/s3test"
	"github.com/coffer-fs/coffer/store/storetest"
)

// What Amazon asks for in us-east-1, by its list, in USD for 1000 requests of S3
// Standard. Deletes cost nothing.
const (
	pricePut = 0.005
	priceGet = 0.0004
)

// bill counts what an operation asks for.
type bill struct {
	t      *testing.T
	server *s3test.Server
	table  *tabwriter.Writer
}

// of does something and expects so many requests at most; exactly so many if exact.
func (b *bill) of(what string, puts, gets int, exact bool, do func()) {
	b.t.Helper()
	b.server.Counts()
	do()
	c := b.server.Counts()
	if c["PUT"] > puts || c["GET"] > gets || exact && (c["PUT"] != puts || c["GET"] != gets) || c["LIST"] > 0 {
		b.t.Errorf("%s: %v, want %d PUT and %d GET", what, c, puts, gets)
	}
	fmt.Fprintf(b.table, "%s\t%d PUT\t%d GET\t%.7f USD\n", what, c["PUT"], c["GET"], float64(c["PUT"])*pricePut/1000+float64(c["GET"])*priceGet/1000)
}

// quiet is a volume that sends nothing of its own accord.
func quiet(server *s3test.Server) s3.Options {
	o := options(server.URL)
	o.Beat, o.Stale, o.CacheBytes = time.Hour, 0, 32<<20
	return o
}

// The requests of each operation, as docs/s3.md and docs/performance.md say.
func TestRequests(t *testing.T) {
	t.Parallel()
	server := s3test.New(t)
	b := &bill{t, server, tabwriter.NewWriter(os.Stderr, 0, 0, 2, ' ', 0)}
	if testing.Verbose() {
		defer b.table.Flush()
	}
	o := quiet(server)
	create(t, url, o)
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var w host.Writer
	b.of("open, acquire", 3, 3, true, func() { _, w = acquire(t, o, false) })
	b.of("create", 0, 0, true, func() { check(w.Create(ctx, 1, 64<<20)) })
	off := int64(0)
	put := func(size int) {
		check(w.Append(ctx, 1, off, pattern(size, uint64(off))))
		off += int64(size)
	}
	b.of("append 4 KiB, sync", 1, 0, true, func() { put(4096); check(w.Sync(ctx, 1)) })
	b.of("sync of nothing", 0, 0, true, func() { check(w.Sync(ctx, 1)) })
	b.of("swap a record", 1, 0, true, func() { _, err := w.Swap(ctx, "root", "", []byte("x")); check(err) })
	b.of("append 1 MiB, sync", 2, 0, true, func() { put(1 << 20); check(w.Sync(ctx, 1)) })
	b.of("append 48 MiB, sync", 4, 0, true, func() { put(48 << 20); check(w.Sync(ctx, 1)) })
	// 1000 entries; every 128 a head, and an object of what is new or that and what is
	// small before it.
	b.of("1000 times append 4 KiB, sync", 1000+2*9, 0, false, func() {
		for range 1000 {
			put(4096)
			check(w.Sync(ctx, 1))
		}
	})
	b.of("release", 3, 0, false, func() { check(w.Release(ctx)) })
	if n := len(server.Objects()); n > 20 {
		t.Errorf("%d objects are left of one segment", n)
	}
	_, w = acquire(t, o, false)
	read := func(at int64, size int) func() {
		return func() { _, err := w.Read(ctx, 1, at, make([]byte, size)); check(err) }
	}
	b.of("read 4 KiB, cold", 0, 1, true, read(20<<20, 4096))
	b.of("read 4 KiB, warm", 0, 0, true, read(20<<20, 4096))
	b.of("read 1 MiB, cold", 0, 1, true, read(24<<20, 1<<20))
	r := rand.New(rand.NewPCG(1, 1))
	b.of("100 times read 4 KiB, cold", 0, 110, false, func() {
		for range 100 {
			read(r.Int64N(off-4096), 4096)() // one in 16 crosses two blocks, none two requests
		}
	})
	b.of("delete", 1, 0, true, func() { check(w.Delete(ctx, 1)) })
}

// A sealed volume opens with as many requests as it has pages in its segment table, and
// a few: however full it is.
func TestRequestsOfOpening(t *testing.T) {
	t.Parallel()
	opening := func(batches int) (puts, gets int) {
		server := s3test.New(t)
		o := newStoreVolume(t, server)
		o.Beat, o.Stale = time.Hour, 0
		h := &history{slots: make([]uint64, slots)}
		if err := h.session(o, rand.New(rand.NewPCG(1, 1)), batches); err != nil {
			t.Fatal(err)
		}
		server.Counts()
		v, err := s3.Open(ctx, url, o)
		if err != nil {
			t.Fatal(err)
		}
		defer v.Close()
		s, err := store.Open(ctx, v, store.Options{Unlocker: storetest.Unlocker("test")})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		c := server.Counts()
		if c["LIST"] > 0 {
			t.Error("opening lists")
		}
		return c["PUT"], c["GET"]
	}
	emptyPuts, emptyGets := opening(1)
	fullPuts, fullGets := opening(2000)
	t.Logf("open an empty volume: %d PUT, %d GET; one of 2000 updates: %d PUT, %d GET", emptyPuts, emptyGets, fullPuts, fullGets)
	if fullPuts > emptyPuts+2 || fullGets > emptyGets+2 || fullPuts > 8 || fullGets > 10 {
		t.Errorf("open an empty volume: %d PUT, %d GET; one of 2000 updates: %d PUT, %d GET", emptyPuts, emptyGets, fullPuts, fullGets)
	}
}
