package store_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/memhost"
	"github.com/coffer-fs/coffer/store/host/remote"
	"github.com/coffer-fs/coffer/store/host/serve"
	"github.com/coffer-fs/coffer/store/storetest"
)

// far is a host process that can be killed, on a machine that can crash.
type far struct {
	dir    string
	before func(call string) // what storetest.Before tells

	countdown atomic.Int64 // so many calls from now it dies
	dying     sync.WaitGroup

	mu     sync.Mutex
	err    error         // of starting it anew
	disk   *memhost.Host // of the present process
	listen *killable
	volume *remote.Volume
	deaths int
}

// killable is a listener whose connections can be cut.
type killable struct {
	net.Listener
	mu    sync.Mutex
	conns []net.Conn
	dead  bool
}

func (k *killable) Accept() (net.Conn, error) {
	c, err := k.Listener.Accept()
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.dead {
		c.Close()
		return nil, net.ErrClosed
	}
	k.conns = append(k.conns, c)
	return c, nil
}

func (k *killable) kill() {
	k.Close()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.dead = true
	for _, c := range k.conns {
		c.Close()
	}
}

// onDisk is the backend of a host process: one volume, whatever its name.
type onDisk struct{ host.Volume }

func (d onDisk) Open(string) (host.Volume, error) { return d.Volume, nil }
func (d onDisk) Create(string) error              { return host.ErrExists }

// serveOn starts a host process for v at a socket in dir.
func serveOn(dir string, v host.Volume) (*killable, error) {
	socket := filepath.Join(dir, "s")
	_ = os.Remove(socket)
	l, err := net.Listen("unix", socket)
	if err != nil {
		return nil, err
	}
	k := &killable{Listener: l}
	go func() { _ = serve.New(onDisk{v}, serve.Options{}).Serve(k) }()
	return k, nil
}

// overWire opens v through a host process, which ends with the test.
func overWire(t *testing.T, v host.Volume) (far host.Volume, end func()) {
	t.Helper()
	dir, err := os.MkdirTemp("", "coffer")
	if err != nil {
		t.Fatal(err)
	}
	k, err := serveOn(dir, v)
	if err != nil {
		t.Fatal(err)
	}
	r, err := remote.Open(bg, "unix:"+filepath.Join(dir, "s")+"#v", remote.Options{Patience: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	return r, func() {
		r.Close()
		k.kill()
		os.RemoveAll(dir)
	}
}

// newFar starts a host process and opens the volume on its disk.
func newFar(disk *memhost.Host, before func(string)) (*far, error) {
	dir, err := os.MkdirTemp("", "coffer") // short enough for a socket
	if err != nil {
		return nil, err
	}
	f := &far{dir: dir, disk: disk, before: before}
	if err := f.start(); err != nil {
		return nil, err
	}
	f.volume, err = remote.Open(bg, "unix:"+filepath.Join(dir, "s")+"#v", remote.Options{})
	return f, err
}

// start starts the process on f.disk. f.mu is held, or f is new.
func (f *far) start() error {
	k, err := serveOn(f.dir, &storetest.Before{Host: f.disk, Call: f.call})
	f.listen = k
	return err
}

func (f *far) call(call string) {
	f.before(call)
	if f.countdown.Add(-1) == 0 {
		f.dying.Go(f.die)
	}
}

// die kills the process, and perhaps the machine it is on, and starts another one,
// while a call is under way. The enclave lives on.
func (f *far) die() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.deaths++
	f.listen.kill() // first: who is dead does not answer
	if f.deaths%2 == 0 {
		f.disk = f.disk.Kill()
	} else {
		f.disk = f.disk.Crash(memhost.CrashOptions{Seed: uint64(f.deaths)})
	}
	f.err = errors.Join(f.err, f.start())
}

// now is the disk of the present process.
func (f *far) now() *memhost.Host {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.disk
}

// ended lets the process live from here on, and tells how often it died, and whether
// it could not be started anew.
func (f *far) ended() (deaths int, err error) {
	f.countdown.Store(0)
	f.dying.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.deaths, f.err
}

func (f *far) close() {
	f.volume.Close()
	_, _ = f.ended()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.listen.kill()
	os.RemoveAll(f.dir)
}

// TestCrashRemote is TestCrash with the volume in a host process that is killed,
// alone or with its machine, while the enclave goes on; and then the enclave dies, or
// both do, in every host call. Nothing acknowledged may be lost in either.
func TestCrashRemote(t *testing.T) {
	seed, cuts, deaths := newSeed(t), 0, 0
	for run, most := uint64(0), *crashCuts/40; cuts < most; run++ {
		c, d := crashRemoteRun(t, seed+run, 1+most/3)
		cuts, deaths = cuts+c, deaths+d
	}
	t.Logf("%d cuts, %d deaths of the host process", cuts, deaths)
}

// crashRemoteRun records one run and tries so many of its cuts, at most.
func crashRemoteRun(t *testing.T, seed uint64, most int) (cuts, deaths int) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 8))
	p := newPlan(r)
	p.steps = 20 + r.IntN(40)
	rec := newRecorder(memhost.New(p.host), nil)
	f, err := newFar(rec.Host, rec.snap)
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	rec.far = f
	h, err := p.record(rec, r)
	if err != nil {
		t.Fatalf("-seed %d: recording, after %q: %v", seed, rec.calls(), err)
	}
	if deaths, err = f.ended(); err != nil {
		t.Fatal(err)
	}
	snaps := rec.end()
	for _, i := range r.Perm(len(snaps))[:min(most, len(snaps))] {
		c := cut{plan: p, history: h, snapshot: snaps[i], seed: seed<<16 + uint64(i)}
		if err := c.tryRemote(); err != nil {
			t.Fatalf("-seed %d: cut %d, before %s, within %v, %s: %v", seed, i, c.call, c.bounds, c.fate, err)
		}
		cuts++
	}
	return cuts, deaths
}

// tryRemote opens what is left through another host process.
func (c *cut) tryRemote() error {
	r := rand.New(rand.NewPCG(c.seed, 9))
	h := c.crash(r)
	f, err := newFar(h, func(string) {})
	if err != nil {
		return err
	}
	defer f.close()
	s, err := c.open(f.volume, nil, false)
	if err != nil && !c.created {
		return nil // TestCrash makes it again
	}
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	defer s.Close()
	m, err := c.look(s, c.bounds)
	if err != nil {
		return err
	}
	if err := checked(s, h); err != nil {
		return err
	}
	w := writer{history: c.forkAt(m), s: s, r: r, keys: c.keys, slots: c.slots}
	f.countdown.Store(r.Int64N(20))
	for range 3 {
		if err := w.randomChange(); err != nil {
			return err
		}
	}
	if err := s.Commit(bg); err != nil {
		return err
	}
	if _, err = w.look(s, bounds{w.newest(), w.newest()}); err != nil {
		return fmt.Errorf("the host process died too: %w", err)
	}
	_, err = f.ended()
	return err
}
