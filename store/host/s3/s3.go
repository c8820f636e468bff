// Package s3 keeps a volume in a bucket of any S3-compatible object store
// (docs/s3.md has its objects, byte by byte, and why they are safe).
//
// All that changes a volume is a journal of small objects with consecutive names,
// each made by one PUT that succeeds only where there is no object yet. Such an
// entry is what one sync made durable: new segments, bytes, deleted segments,
// records. Large runs of bytes are objects of their own, which an entry refers
// to. Now and then everything is put together in one object, the head, which is
// replaced only if it is still the one that was read, and what was in the
// journal before it is deleted.
//
// It promises what host.Volume promises. Whoever takes a volume over ends the
// journal of the writer before, by making its next entry: that writer can make
// none any more. A request that was not answered is made again, which has its
// effect once; if nothing is heard for Options.Patience, the outcome is unknown,
// the error says so, and the writer is of no use any more.
//
// Two things differ from a host nearby. A writer that is taken over notices when
// it next changes something, or within Options.Beat: what it appends or reads
// meanwhile has no effect. (With Options.Strict it asks before every call.) And a
// writer that died holds the volume until another one has knocked for
// Options.Grace, unless both use the same Options.Dir.
//
// Everything that comes back is hostile. Answers are read up to what was asked
// for, numbers are checked before they are used, and every wait has an end.
//
// It maps no files, and may run in an enclave; coffer host serve keeps it, and
// its credentials, outside of one. Imports store/host alone.
//
// Lock order, from the outside in:
//
//	Volume.mu
//	writer.folding
//	  writer.committing
//	    writer.shipping
//	      writer.mu
//	cache.mu
package s3

import (
	"context"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coffer-fs/coffer/store/host"
)

// Durability says what a sync waits for.
type Durability int

const (
	// Remote: the object store has it.
	Remote Durability = iota
	// Local: a journal in Options.Dir has it, on this machine's disk. It is
	// shipped in the background, in order: what the store has is always a state
	// that the volume was in. Who loses that disk loses what was not shipped.
	Local
)

// Defaults and bounds of Options.
const (
	defaultPatience = time.Minute
	defaultPause    = 20 * time.Millisecond
	defaultTimeout  = 30 * time.Second
	defaultBeat     = 5 * time.Second
	defaultGrace    = 20 * time.Second
	defaultStale    = time.Second
	defaultCache    = 64 << 20
	defaultLag      = 64 << 20
	maxLag          = 1 << 30
	defaultLagAge   = time.Minute
)

// Options of a Volume. The zero value reaches Amazon's us-east-1 with credentials
// from the environment, the shared file or the machine's role.
type Options struct {
	// Endpoint is the store: https://HOST[:PORT], or http:// at a loopback
	// address. Default: Amazon's, in Region.
	Endpoint string
	// Region is that of the bucket. Default: us-east-1.
	Region string
	// AccessKey and SecretKey are credentials. Default: the standard chain, which
	// is AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, the shared credentials
	// file, and what the machine's provider hands out.
	AccessKey, SecretKey string
	// RootCAs vouch for the store's certificate. Default: the machine's own.
	RootCAs *x509.CertPool
	// Transport replaces the one over TCP, for tests and proxies.
	Transport http.RoundTripper

	// Dir is a directory of this machine for the cache and the local journal;
	// made if it is not there. One volume, one directory. Default: none, and the
	// cache is in memory.
	Dir string
	// CacheBytes limits the cache of sealed bytes. Default 64 MiB.
	CacheBytes int64
	// Durability is what a sync waits for. Local needs Dir. Default Remote.
	Durability Durability
	// LagBytes bounds what the object store may lack of what was acknowledged,
	// with Local; syncs wait beyond it. It is held in memory. Default 64 MiB,
	// at most 1 GiB.
	LagBytes int64
	// LagAge bounds how old that may be. Default 1 min.
	LagAge time.Duration

	// Patience is how long a call waits for a store that cannot be reached.
	// Default 1 min.
	Patience time.Duration
	// Pause is the first before a request is made again, and the next ones are longer.
	// Default 20 ms.
	Pause time.Duration
	// Timeout bounds one request, with a second more for each 256 KiB. Default
	// 30 s.
	Timeout time.Duration
	// Beat is how often a writer looks whether somebody knocks. Default 5 s.
	Beat time.Duration
	// Grace is how long a writer that is silent is taken for alive. Default 20 s;
	// it should be some Beats of all who may write.
	Grace time.Duration
	// Stale is how old what a reader that does not write knows may be. Default
	// 1 s; negative: it asks at each call.
	Stale time.Duration
	// Strict has a writer ask before each call whether it still holds the volume.
	// It costs a request a call.
	Strict bool
	// Logger receives what an operator should know. Default: silent.
	Logger *slog.Logger

	foldEntries int // how many entries make a new head pay; for tests
}

func (o Options) withDefaults() Options {
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&o.Patience, defaultPatience}, {&o.Pause, defaultPause}, {&o.Timeout, defaultTimeout}, {&o.Beat, defaultBeat},
		{&o.Grace, defaultGrace}, {&o.Stale, defaultStale}, {&o.LagAge, defaultLagAge},
	} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	if o.CacheBytes == 0 {
		o.CacheBytes = defaultCache
	}
	if o.LagBytes <= 0 {
		o.LagBytes = defaultLag
	}
	o.LagBytes = min(o.LagBytes, maxLag)
	if o.foldEntries == 0 {
		o.foldEntries = foldEntries
	}
	if o.Region == "" {
		o.Region = "us-east-1"
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// Volume is a volume in a bucket. It implements host.Volume.
type Volume struct {
	objects *objects
	cache   *cache
	options Options
	writer  atomic.Pointer[writer] // the last one that this handle acquired; nil if none

	mu     sync.Mutex // held while the view is brought up to date
	view   *view      // what a reader knows
	asked  time.Time  // when it was the truth
	users  int        // this handle and its writers
	closed bool
}

var _ host.Volume = (*Volume)(nil)

// Open opens the volume at s3://BUCKET/PREFIX. ErrNotFound if there is none.
func Open(ctx context.Context, url string, o Options) (*Volume, error) {
	v, err := newVolume(url, o)
	if err != nil {
		return nil, fmt.Errorf("open volume: %w", err)
	}
	if err := v.openHead(ctx); err != nil {
		v.drop()
		return nil, fmt.Errorf("open volume %q: %w", url, err)
	}
	return v, nil
}

// Create makes an empty volume at s3://BUCKET/PREFIX, in a bucket that is there.
// ErrExists if there is one. It refuses a store that ignores conditions.
func Create(ctx context.Context, url string, o Options) error {
	v, err := newVolume(url, o)
	if err != nil {
		return fmt.Errorf("create volume: %w", err)
	}
	defer v.drop()
	if err := v.createHead(ctx); err != nil {
		return fmt.Errorf("create volume %q: %w", url, err)
	}
	return nil
}

func newVolume(url string, o Options) (*Volume, error) {
	a, err := parseURL(url)
	if err != nil {
		return nil, err
	}
	o = o.withDefaults()
	objects, err := newObjects(a, o)
	if err != nil {
		return nil, err
	}
	c, err := newCache(o.Dir, o.CacheBytes)
	if err != nil {
		return nil, err
	}
	return &Volume{objects: objects, cache: c, options: o, users: 1}, nil
}

// createHead makes the first head, and tries whether conditions are kept.
func (v *Volume) createHead(ctx context.Context) error {
	s := newState()
	b := s.encodeHead()
	_, err := v.objects.put(ctx, headName, b, condition{absent: true})
	if isNewHead(err) {
		return host.ErrExists
	}
	if err != nil {
		return err
	}
	return v.tryConditions(ctx, b)
}

// tryConditions makes a head again that is there already, under conditions that do not
// hold: a store that takes it ignores them.
func (v *Volume) tryConditions(ctx context.Context, head []byte) error {
	for _, c := range []struct {
		condition
		taken string
	}{
		{condition{absent: true}, "a second object of one name was taken"},
		{condition{match: "00000000000000000000000000000000"}, "an object was replaced that is another one"},
	} {
		switch _, err := v.objects.put(ctx, headName, head, c.condition); {
		case err == nil:
			return fmt.Errorf("%s: %w", c.taken, ErrConditions)
		case !isNewHead(err):
			return err
		}
	}
	return nil
}

// Close implements host.Volume. Writers stay usable.
func (v *Volume) Close() error {
	v.mu.Lock()
	closed := v.closed
	v.closed = true
	v.mu.Unlock()
	if closed {
		return nil
	}
	return v.drop()
}

func (v *Volume) keep() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.users++
}

func (v *Volume) drop() error {
	v.mu.Lock()
	v.users--
	last := v.users == 0
	v.mu.Unlock()
	if !last {
		return nil
	}
	v.objects.close()
	return v.cache.close()
}
