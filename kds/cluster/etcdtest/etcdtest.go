// Package etcdtest runs a real etcd for a test: Debian's, on ports of loopback
// that are free and a folder of its own. Imported by tests only.
package etcdtest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Etcd is one etcd server.
type Etcd struct {
	URL string

	t     testing.TB
	flags []string
	dir   string
	peer  string
	cmd   *exec.Cmd
}

// Start starts an etcd that ends with the test.
func Start(t testing.TB) *Etcd {
	t.Helper()
	return start(t, "http://")
}

// StartTLS starts an etcd that wants TLS, with more flags for it.
func StartTLS(t testing.TB, flags ...string) *Etcd {
	t.Helper()
	return start(t, "https://", flags...)
}

func start(t testing.TB, scheme string, flags ...string) *Etcd {
	t.Helper()
	e := &Etcd{URL: scheme + free(t), t: t, flags: flags, dir: filepath.Join(t.TempDir(), "etcd"), peer: "http://" + free(t)}
	e.Run()
	t.Cleanup(e.Kill)
	return e
}

// Run starts the server again, after Kill.
func (e *Etcd) Run() {
	e.t.Helper()
	path, err := exec.LookPath("etcd")
	if err != nil {
		e.t.Fatal("this test needs etcd: apt-get install etcd-server (or put any etcd 3.4 or newer into the path)")
	}
	log, err := os.OpenFile(e.dir+".log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		e.t.Fatal(err)
	}
	defer log.Close()
	e.cmd = exec.Command(path, append(e.flags, "--data-dir", e.dir, "--listen-client-urls", e.URL, "--advertise-client-urls", e.URL,
		"--listen-peer-urls", e.peer, "--initial-advertise-peer-urls", e.peer, "--initial-cluster", "default="+e.peer)...)
	e.cmd.Stdout, e.cmd.Stderr = log, log
	e.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := e.cmd.Start(); err != nil {
		e.t.Fatal(err)
	}
	for range 300 {
		if c, err := net.Dial("tcp", e.URL[strings.LastIndexByte(e.URL, '/')+1:]); err == nil {
			_ = c.Close()
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	b, _ := os.ReadFile(e.dir + ".log")
	e.t.Fatalf("etcd does not start: %s", b[max(0, len(b)-2000):])
}

// Kill ends the server without warning.
func (e *Etcd) Kill() {
	if e.cmd == nil {
		return
	}
	_ = e.cmd.Process.Kill()
	_ = e.cmd.Wait()
	e.cmd = nil
}

// Save copies the folder of a server that was killed, and returns the copy.
func (e *Etcd) Save() string {
	e.t.Helper()
	to := filepath.Join(e.t.TempDir(), "copy")
	if err := os.CopyFS(to, os.DirFS(e.dir)); err != nil {
		e.t.Fatal(err)
	}
	return to
}

// Restore puts a copy in place of the folder of a server that was killed.
func (e *Etcd) Restore(from string) {
	e.t.Helper()
	if err := os.RemoveAll(e.dir); err != nil {
		e.t.Fatal(err)
	}
	if err := os.CopyFS(e.dir, os.DirFS(from)); err != nil {
		e.t.Fatal(err)
	}
	if err := os.Chmod(e.dir, 0o700); err != nil {
		e.t.Fatal(err)
	}
}

// free is an address of loopback that nobody listens on.
func free(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return fmt.Sprint(l.Addr())
}
