package main

import (
	"bufio"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/kdstest"
)

// nodes are the processes of nodes, by URL.
var nodes sync.Map

// halt NAME: the node ends by itself, without an error.
func halt(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: halt NAME")
	}
	c, ok := nodes.LoadAndDelete(ts.Getenv(args[0]))
	if !ok {
		ts.Fatalf("no node %s", args[0])
	}
	ts.Check(c.(*exec.Cmd).Process.Signal(syscall.SIGTERM))
	ts.Check(c.(*exec.Cmd).Wait())
}

// nodeArgs are what nodes were started with, by URL.
var nodeArgs sync.Map

// restart NAME: the node that was halted runs again, at the same address.
func restart(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: restart NAME")
	}
	url := ts.Getenv(args[0])
	before, ok := nodeArgs.Load(url)
	if !ok {
		ts.Fatalf("no node %s", args[0])
	}
	again := append([]string{args[0]}, before.([]string)...)
	node(ts, false, append(again, "--listen", strings.TrimPrefix(url, "http://")))
}

// node NAME ARGS...: a KDS runs in the background, until the end of the script or
// halt NAME; its URL is in $NAME.
func node(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: node NAME ARGS")
	}
	path, err := lookPath(ts, "coffer-kds")
	ts.Check(err)
	c := exec.Command(path, append([]string{"serve", "--listen", "127.0.0.1:0", "--master", "development", "--log", "error"}, args[1:]...)...)
	c.Dir, c.Stderr = ts.MkAbs("."), os.Stderr
	out, err := c.StdoutPipe()
	ts.Check(err)
	ts.Check(c.Start())
	ts.Defer(func() {
		_ = c.Process.Signal(syscall.SIGTERM)
		_ = c.Wait()
	})
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		ts.Fatalf("the node printed no URL")
	}
	ts.Setenv(args[0], lines.Text())
	nodes.Store(lines.Text(), c)
	nodeArgs.Store(lines.Text(), args[1:])
}

// relay NAME KIND URL: something between the tool and the KDS at URL that is
// not honest; its URL is in $NAME.
//
//	spec    answers for another spec
//	key     answers with another key
//	page    answers with a page of text
//	silent  does not answer before it is opened: see asked, open
func relay(t *testing.T, ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: relay NAME KIND URL")
	}
	g := newGate(args[0] + ts.MkAbs("."))
	change := map[string]func([]byte) []byte{
		"spec":   kdstest.Edit(t, func(a *kds.PrivateAnswer) { a.Spec.Name = "another" }),
		"key":    kdstest.Edit(t, func(a *kds.PrivateAnswer) { a.SealedKey[0] ^= 1 }),
		"page":   func([]byte) []byte { return []byte("<html>It works!</html>") },
		"silent": g.wait,
	}[args[1]]
	if change == nil {
		ts.Fatalf("unknown relay %q", args[1])
	}
	k := &kdstest.KDS{URL: args[2], HTTP: http.DefaultClient}
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		status, answer := k.Post(t, r.URL.Path, body)
		answer = change(answer)
		w.WriteHeader(status)
		_, _ = w.Write(answer)
	}))
	ts.Defer(h.Close)
	ts.Defer(func() { g.release() })
	ts.Setenv(args[0], h.URL)
}

// gate keeps answers back.
type gate struct {
	once, opened sync.Once
	asked, open  chan struct{}
}

var gates sync.Map // by name and script

func newGate(name string) *gate {
	g := &gate{asked: make(chan struct{}), open: make(chan struct{})}
	gates.Store(name, g)
	return g
}

// wait notes that somebody asks, and waits until the gate is opened.
func (g *gate) wait(b []byte) []byte {
	g.once.Do(func() { close(g.asked) })
	<-g.open
	return b
}

func (g *gate) release() { g.opened.Do(func() { close(g.open) }) }

func gateOf(ts *testscript.TestScript, args []string) *gate {
	if len(args) == 1 {
		if g, ok := gates.Load(args[0] + ts.MkAbs(".")); ok {
			return g.(*gate)
		}
	}
	ts.Fatalf("usage: asked NAME, open NAME; of a silent relay")
	return nil
}

// asked NAME: somebody has asked the silent relay, and waits.
func asked(ts *testscript.TestScript, neg bool, args []string) {
	select {
	case <-gateOf(ts, args).asked:
	case <-time.After(untilDeadline):
		ts.Fatalf("nobody asks %q", args[0])
	}
}

// open NAME: the silent relay answers from now on.
func open(ts *testscript.TestScript, neg bool, args []string) {
	gateOf(ts, args).release()
}
