package main

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/coffer-fs/coffer/internal/freeaddr"
	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/attest/platform"
	"github.com/coffer-fs/coffer/kds/attest/sim"
	"github.com/coffer-fs/coffer/kds/cluster"
	"github.com/coffer-fs/coffer/kds/cluster/etcdtest"
	"github.com/coffer-fs/coffer/kds/keyfile"
	"github.com/coffer-fs/coffer/kds/orders"
	"github.com/coffer-fs/coffer/kds/policy"
	"github.com/coffer-fs/coffer/key"
)

var clusterFor = flag.Duration("cluster.for", time.Second, "how long each state of TestCluster lasts")

const trustText = "S:0000000000000000000000000000000000000000000000000000000000000000 PROD:1 SEC:INSECURE"

// proc is one node: a process, reached through proxies that can be cut.
type proc struct {
	t                  *testing.T
	dir                string
	listen             string
	client, peer, etcd *proxy
	cmd                *exec.Cmd
	log                string
}

// farm is etcd, nodes, and who keeps them.
type farm struct {
	t      *testing.T
	dir    string
	config string
	etcd   *etcdtest.Etcd
	nodes  []*proc
}

func newFarm(t *testing.T, nodes int) *farm {
	t.Helper()
	f := &farm{t: t, dir: t.TempDir(), etcd: etcdtest.Start(t)}
	op, err := orders.OperatorKey(f.file("operator.key"))
	must(t, err)
	public := map[string]string{}
	names := []string{"alice", "bob", "carol", "dave", "eve"}
	for _, n := range names {
		public[n], err = keyfile.NewCustodian(f.file(n + ".key"))
		must(t, err)
	}
	f.config = f.file("node.hcl")
	must(t, os.WriteFile(f.config, []byte(nodeHCL(hex.EncodeToString(op.Public().(ed25519.PublicKey)), 3, names, public)), 0o600))
	for range nodes {
		f.add()
	}
	return f
}

func (f *farm) file(name string) string { return filepath.Join(f.dir, name) }

// add starts one more node.
func (f *farm) add() *proc {
	f.t.Helper()
	p := &proc{t: f.t, dir: f.file(fmt.Sprintf("node%d", len(f.nodes))), listen: freeAddr(f.t)}
	must(f.t, os.MkdirAll(p.dir, 0o700))
	node := freeAddr(f.t)
	p.client, p.peer, p.etcd = newProxy(f.t, p.listen), newProxy(f.t, node), newProxy(f.t, strings.TrimPrefix(f.etcd.URL, "http://"))
	f.nodes = append(f.nodes, p)
	p.log = p.dir + ".log"
	p.start(f.config, node)
	f.t.Cleanup(p.kill)
	return p
}

func (p *proc) start(config, node string) {
	p.t.Helper()
	path, err := exec.LookPath("coffer-kds")
	must(p.t, err)
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	must(p.t, err)
	defer log.Close()
	p.cmd = exec.Command(path, "serve", "--master", "cluster", "--config", config, "--data", p.dir, "--sim-cpu", p.dir+".cpu", "--listen", p.listen,
		"--node-listen", node, "--node-address", p.peer.addr, "--etcd", "http://"+p.etcd.addr, "--rate", "1000000", "--rate.identity", "1000000", "--log", "info")
	p.cmd.Stderr = log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := p.cmd.StdoutPipe()
	must(p.t, err)
	must(p.t, p.cmd.Start())
	if !bufio.NewScanner(out).Scan() {
		b, _ := os.ReadFile(p.log)
		p.t.Fatalf("the node printed no URL: %s", b)
	}
}

// kill ends the node without warning.
func (p *proc) kill() {
	if p.cmd != nil {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
		p.cmd = nil
	}
}

// again starts the node that was killed.
func (p *proc) again(f *farm) { p.t.Helper(); p.start(f.config, p.peer.to) }

// cut takes the node off the network, or puts it back.
func (p *proc) cut(off bool) {
	for _, x := range []*proxy{p.client, p.peer, p.etcd} {
		x.cut(off)
	}
}

func (p *proc) url() string { return "http://" + p.client.addr }

// become waits for the node's status.
func (p *proc) become(what string, ok func(cluster.Status) bool) {
	p.t.Helper()
	var s cluster.Status
	var err error
	for range 600 {
		if s, err = (cluster.Person{URL: p.url()}).Status(context.Background()); err == nil && ok(s) {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	b, _ := os.ReadFile(p.log)
	p.t.Fatalf("the node is not %s: %+v, %v\n%s", what, s, err, b[max(0, len(b)-3000):])
}

func member(s cluster.Status) bool { return s.State == cluster.Member }

// run runs coffer-kds as a person does.
func (f *farm) run(args ...string) string {
	f.t.Helper()
	c := exec.Command("coffer-kds", args...)
	c.Dir = f.dir
	out, err := c.CombinedOutput()
	if err != nil {
		f.t.Fatalf("coffer-kds %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// as are the flags of a person who asks a node.
func (f *farm) as(p *proc, flag, file string) []string {
	return []string{"--url", p.url(), "--config", "node.hcl", "--trust", trustText, flag, file}
}

// asker is a simulated enclave that asks for keys, at all of some nodes.
func (f *farm) asker(nodes ...*proc) *kds.Client {
	f.t.Helper()
	var urls []string
	for _, n := range nodes {
		urls = append(urls, n.url())
	}
	p, err := platform.Open(platform.Sim, platform.Options{CPU: f.t.TempDir()})
	must(f.t, err)
	trusted, err := policy.Parse(trustText)
	must(f.t, err)
	return &kds.Client{URL: strings.Join(urls, ","), Platform: p, Verifier: platform.Verifier(p), Constraint: trusted}
}

func keySpec(t *testing.T, n int) kds.Spec {
	t.Helper()
	who, err := policy.Parse("S:" + string(sim.DefaultSigner) + " PROD:1 SEC:INSECURE")
	must(t, err)
	return kds.Spec{Name: fmt.Sprintf("key %d", n), MasterKeyType: kds.Development, PolicyConstraint: who}
}

// load asks for keys all the time, and for an anchor. A wrong key ends the test,
// and so does a key that cannot be had within the client's time-out.
type load struct {
	f         *farm
	want      []key.Key
	keys      atomic.Int64
	anchored  atomic.Int64
	refused   atomic.Int64 // anchors that could not be had
	longest   atomic.Int64
	stop      context.CancelFunc
	wg        sync.WaitGroup
	volume    kds.VolumeID
	lastState kds.AnchorState
	begun     time.Time
}

const loadKeys = 8

func (f *farm) load() *load {
	f.t.Helper()
	l := &load{f: f, volume: kds.VolumeID{1}, begun: time.Now()}
	c := f.asker(f.nodes[0])
	for i := range loadKeys {
		k, err := c.Private(context.Background(), keySpec(f.t, i), kds.Storage)
		must(f.t, err)
		l.want = append(l.want, k)
	}
	ctx, stop := context.WithCancel(context.Background())
	l.stop = stop
	for i := range 3 {
		c := f.asker(append(f.nodes[i:len(f.nodes):len(f.nodes)], f.nodes[:i]...)...)
		l.wg.Go(func() { l.askKeys(ctx, c) })
	}
	a := kds.NewAnchorClient(f.asker(f.nodes...), keySpec(f.t, 0))
	l.wg.Go(func() { l.askAnchor(ctx, a) })
	f.t.Cleanup(l.end)
	return l
}

func (l *load) end() { l.stop(); l.wg.Wait() }

func (l *load) askKeys(ctx context.Context, c *kds.Client) {
	for i := 0; ctx.Err() == nil; i++ {
		begun := time.Now()
		r, err := c.Release(ctx, keySpec(l.f.t, i%loadKeys), kds.Storage, 1)
		switch {
		case ctx.Err() != nil:
		case err != nil:
			l.f.t.Errorf("no key: %v", err)
		case !r.Key.Equal(l.want[i%loadKeys]):
			l.f.t.Errorf("A WRONG KEY from %v", r.KDS)
		}
		l.keys.Add(1)
		if took := int64(time.Since(begun)); took > l.longest.Load() {
			l.longest.Store(took)
		}
	}
}

// askAnchor advances an anchor, one step at a time. After an error it is one of
// two states, and never an older one.
func (l *load) askAnchor(ctx context.Context, a *kds.AnchorClient) {
	for n := uint64(1); ctx.Err() == nil; n++ {
		next := kds.AnchorState{Epoch: 1, Root: n, Sequence: n}
		err := a.Advance(ctx, l.volume, l.lastState, next)
		for err != nil && ctx.Err() == nil {
			l.refused.Add(1)
			var now kds.AnchorState
			now, err = a.Read(ctx, l.volume)
			none := errors.Is(err, kds.ErrAnchorNone) && l.lastState == kds.AnchorState{}
			switch {
			case none || err == nil && now == l.lastState:
				err = a.Advance(ctx, l.volume, l.lastState, next)
			case err == nil && now != next:
				l.f.t.Errorf("the anchor is %+v, was %+v or %+v", now, l.lastState, next)
				return
			}
		}
		if ctx.Err() == nil {
			l.lastState = next
			l.anchored.Add(1)
		}
	}
}

// state lets the load run for a while; keys must have come, anchors too if they
// should.
func (l *load) state(what string, anchors bool) {
	l.f.t.Helper()
	keys, anchored := l.keys.Load(), l.anchored.Load()
	time.Sleep(*clusterFor)
	for i := 0; l.keys.Load() == keys || anchors && l.anchored.Load() == anchored; i++ {
		if i > 600 {
			l.f.t.Fatalf("%s: %d keys, %d anchors since it began", what, l.keys.Load()-keys, l.anchored.Load()-anchored)
		}
		time.Sleep(50 * time.Millisecond)
	}
	l.f.t.Logf("%6.1fs %-24s %6d keys, %5d anchors, longest wait %v", time.Since(l.begun).Seconds(), what, l.keys.Load()-keys, l.anchored.Load()-anchored, time.Duration(l.longest.Swap(0)).Round(time.Millisecond))
}

// Three real nodes and a real etcd under load, while a node is killed, another
// is cut off, and etcd is killed and started again: no wrong key ever, and the
// same keys after.
func TestCluster(t *testing.T) {
	f := newFarm(t, 3)
	a, b, c := f.nodes[0], f.nodes[1], f.nodes[2]
	a.become("up", func(s cluster.Status) bool { return s.State == cluster.Unborn && s.Store == "" })
	f.run(append([]string{"init"}, f.as(a, "--operator-key", "operator.key")...)...)
	for _, n := range f.nodes {
		n.become("a member of three", func(s cluster.Status) bool { return member(s) && len(s.Witnesses) == 3 })
	}
	l := f.load()
	l.state("three nodes", true)
	b.kill()
	l.state("one killed", true)
	b.again(f)
	b.become("back", member)
	l.state("started again", true)
	c.cut(true)
	l.state("another cut off", true)
	c.cut(false)
	l.state("back on the network", true)
	f.etcd.Kill()
	l.state("etcd killed", false)
	f.etcd.Run()
	l.state("etcd started again", true)
	l.end()

	for _, n := range f.nodes {
		n.become("a member", func(s cluster.Status) bool { return member(s) && s.Store == "" })
		one := f.asker(n)
		for i, want := range l.want {
			if k, err := one.Private(context.Background(), keySpec(t, i), kds.Storage); err != nil || !k.Equal(want) {
				t.Errorf("key %d of one node after it all: %v", i, err)
			}
		}
		now, err := kds.NewAnchorClient(one, keySpec(t, 0)).Read(context.Background(), l.volume)
		if err != nil || now.Sequence < l.lastState.Sequence || now.Sequence > l.lastState.Sequence+1 {
			t.Errorf("the anchor of one node after it all: %+v, %v; acknowledged was %d", now, err, l.lastState.Sequence)
		}
	}
}

// All nodes are lost with their machines; three of five custodians bring the
// same keys back, on a new one, and the others get them from it.
func TestClusterLost(t *testing.T) {
	f := newFarm(t, 2)
	a, b := f.nodes[0], f.nodes[1]
	a.become("up", func(s cluster.Status) bool { return s.State == cluster.Unborn && s.Store == "" })
	f.run(append([]string{"init"}, f.as(a, "--operator-key", "operator.key")...)...)
	b.become("a member", member)
	want, err := f.asker(b).Private(context.Background(), keySpec(t, 1), kds.Storage)
	must(t, err)
	for _, n := range f.nodes {
		n.kill()
		must(t, os.RemoveAll(n.dir))
		must(t, os.RemoveAll(n.dir+".cpu"))
	}
	c := f.add()
	c.become("waiting", func(s cluster.Status) bool { return s.State == cluster.Waiting })
	for i, who := range []string{"eve", "alice", "carol"} {
		out := f.run(append([]string{"recover"}, f.as(c, "--custodian-key", who+".key")...)...)
		if want := fmt.Sprintf("custodian %s\ngeneration 1: %d of 3 shares\n", who, i+1); out != want {
			t.Errorf("%q, want %q", out, want)
		}
	}
	d := f.add()
	for _, n := range []*proc{c, d} {
		n.become("a member", member)
		if k, err := f.asker(n).Private(context.Background(), keySpec(t, 1), kds.Storage); err != nil || !k.Equal(want) {
			t.Errorf("another key came back: %v", err)
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func freeAddr(t *testing.T) string {
	t.Helper()
	address, err := freeaddr.New()
	must(t, err)
	return address
}
