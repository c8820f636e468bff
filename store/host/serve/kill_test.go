package serve_test

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/local"
	"github.com/coffer-fs/coffer/store/host/remote"
	"github.com/coffer-fs/coffer/store/host/serve"
)

// serveEnv makes this program a host process: its root and its socket.
const serveEnv = "COFFER_TEST_SERVE"

func TestMain(m *testing.M) {
	root, socket, ok := strings.Cut(os.Getenv(serveEnv), ":")
	if !ok {
		os.Exit(m.Run())
	}
	_ = os.Remove(socket)
	l, err := net.Listen("unix", socket)
	if err == nil {
		fmt.Println("ready")
		err = serve.New(&serve.Dir{Root: root, MaxVolumes: 10}, serve.Options{}).Serve(l)
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// process is a host process that can be killed.
type process struct {
	t            *testing.T
	root, socket string
	c            *exec.Cmd
}

func newProcess(t *testing.T) *process {
	p := &process{t: t, root: t.TempDir(), socket: filepath.Join(shortDir(t), "s")}
	p.start()
	t.Cleanup(p.kill)
	must(t, remote.Create(ctx, p.url(), remote.Options{}))
	return p
}

func (p *process) url() string { return "unix:" + p.socket + "#v" }

func (p *process) start() {
	p.t.Helper()
	p.c = exec.Command(os.Args[0])
	p.c.Env = append(os.Environ(), serveEnv+"="+p.root+":"+p.socket)
	p.c.Stderr = os.Stderr
	out, err := p.c.StdoutPipe()
	must(p.t, err)
	must(p.t, p.c.Start())
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		p.t.Fatalf("%q, %v", line, err)
	}
}

func (p *process) kill() {
	_ = p.c.Process.Kill()
	_ = p.c.Wait()
}

func (p *process) open() *remote.Volume {
	p.t.Helper()
	v, err := remote.Open(ctx, p.url(), remote.Options{})
	must(p.t, err)
	p.t.Cleanup(func() { must(p.t, v.Close()) })
	return v
}

func acquire(t *testing.T, v host.Volume, o host.AcquireOptions) host.Writer {
	t.Helper()
	w, err := v.Acquire(ctx, o)
	must(t, err)
	t.Cleanup(func() { _ = w.Release(ctx) })
	return w
}

// The host process is killed at any moment and started anew: the writer goes on,
// with everything that it appended.
func TestKilledServer(t *testing.T) {
	r := newRand(t)
	p := newProcess(t)
	w := acquire(t, p.open(), host.AcquireOptions{Owner: "test"})
	k := newWork(w)
	stop, killed := make(chan struct{}), 0
	var group sync.WaitGroup
	pauses := make([]time.Duration, 100)
	for i := range pauses {
		pauses[i] = time.Duration(r.IntN(60)) * time.Millisecond
	}
	group.Go(func() {
		for _, pause := range pauses {
			select {
			case <-stop:
				return
			case <-time.After(pause):
			}
			p.kill()
			p.start()
			killed++
		}
	})
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end); {
		if err := k.step(r); err != nil {
			t.Errorf("after %d kills: %v", killed, err)
			break
		}
	}
	close(stop)
	group.Wait()
	if killed < 3 {
		t.Errorf("it was killed %d times only", killed)
	}
	k.check(t, w)
	must(t, w.Release(ctx))
	direct, err := local.Open(filepath.Join(p.root, "v"))
	must(t, err)
	defer direct.Close()
	k.check(t, direct)
}

// What was appended and not synced is appended again, also where the machine
// lost it.
func TestMachineLosesWhatWasNotSynced(t *testing.T) {
	p := newProcess(t)
	w := acquire(t, p.open(), host.AcquireOptions{})
	k := newWork(w)
	for id := host.SegmentID(1); id <= 2; id++ {
		must(t, w.Create(ctx, id, 1<<20))
		must(t, w.Append(ctx, id, 0, []byte("one")))
		k.segments[id] = []byte("one")
	}
	must(t, w.Sync(ctx, 1))
	must(t, w.Append(ctx, 1, 3, []byte("two")))
	k.segments[1] = []byte("onetwo")
	p.kill()
	// A power cut: segment 2 was never there, the end of 1 is what was there before.
	must(t, os.Remove(filepath.Join(p.root, "v", "segments", "2.seg")))
	f, err := os.OpenFile(filepath.Join(p.root, "v", "segments", "1.seg"), os.O_WRONLY, 0)
	must(t, err)
	_, err = f.WriteAt([]byte("xxx"), 3)
	must(t, errors.Join(err, f.Close()))
	p.start()
	must(t, w.Sync(ctx, 1, 2))
	k.check(t, w)
	must(t, w.Append(ctx, 2, 3, []byte("two")))
	k.segments[2] = []byte("onetwo")
	must(t, w.Sync(ctx, 2))
	k.check(t, w)
}

// Whoever took the volume over while the host process was away keeps it, whether
// he came by the host process or not.
func TestResumeIsFenced(t *testing.T) {
	for _, direct := range []bool{false, true} {
		p := newProcess(t)
		old := acquire(t, p.open(), host.AcquireOptions{Owner: "old"})
		must(t, old.Create(ctx, 1, 1<<20))
		p.kill()
		if direct {
			v, err := local.Open(filepath.Join(p.root, "v"))
			must(t, err)
			w := acquire(t, v, host.AcquireOptions{Owner: "new"})
			must(t, w.Release(ctx))
			must(t, v.Close())
			p.start()
		} else {
			p.start()
			acquire(t, p.open(), host.AcquireOptions{Owner: "new", Takeover: true})
		}
		for range 2 {
			if err := old.Append(ctx, 1, 0, []byte("x")); !errors.Is(err, host.ErrFenced) {
				t.Errorf("append: %v", err)
			}
			if _, err := old.Swap(ctx, "root", "", nil); !errors.Is(err, host.ErrFenced) {
				t.Errorf("swap: %v", err)
			}
			p.kill()
			p.start()
		}
	}
}

// Two host processes on one directory: a client of the one fences that of the
// other.
func TestTwoServers(t *testing.T) {
	p := newProcess(t)
	q := &process{t: t, root: p.root, socket: filepath.Join(shortDir(t), "s")}
	q.start()
	t.Cleanup(q.kill)
	old := acquire(t, p.open(), host.AcquireOptions{Owner: "old"})
	version, err := old.Swap(ctx, "root", "", []byte("old"))
	must(t, err)
	if _, err := q.open().Acquire(ctx, host.AcquireOptions{}); !errors.Is(err, host.ErrInUse) || !strings.Contains(err.Error(), "old") {
		t.Errorf("acquire what is held by another server: %v", err)
	}
	w := acquire(t, q.open(), host.AcquireOptions{Owner: "new", Takeover: true})
	if _, err := old.Swap(ctx, "root", version, []byte("older")); !errors.Is(err, host.ErrFenced) {
		t.Errorf("swap: %v", err)
	}
	if _, err := w.Swap(ctx, "root", version, []byte("new")); err != nil {
		t.Error(err)
	}
}

// A client that died lets go of the volume by itself, and whoever asks meanwhile
// waits for that.
func TestDeadClientLetsGo(t *testing.T) {
	server := start(t, newDir(t), serve.Options{})
	url := "unix:" + server + "#v"
	must(t, remote.Create(ctx, url, remote.Options{}))
	c, socket := newCutter(t, server, newRand(t))
	c.set(true)
	v, err := remote.Open(ctx, "unix:"+socket+"#v", remote.Options{Patience: time.Nanosecond})
	must(t, err)
	old, err := v.Acquire(ctx, host.AcquireOptions{})
	must(t, err)
	c.drop()
	second, err := remote.Open(ctx, url, remote.Options{})
	must(t, err)
	defer second.Close()
	acquire(t, second, host.AcquireOptions{})
	_ = old.Release(ctx)
	must(t, v.Close())
}
