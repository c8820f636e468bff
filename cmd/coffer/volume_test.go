package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/local"
)

func filepathList(s string) []string { return filepath.SplitList(s) }

// flip GLOB FROM STEP: in all those files, every STEPth byte from FROM is changed.
func flip(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: flip GLOB FROM STEP")
	}
	files, err := filepath.Glob(ts.MkAbs(args[0]))
	ts.Check(err)
	from, step := number(ts, args[1]), number(ts, args[2])
	for _, f := range files {
		b, err := os.ReadFile(f)
		ts.Check(err)
		for i := from; i < len(b); i += step {
			b[i] ^= 0x40
		}
		ts.Check(os.WriteFile(f, b, 0o600))
	}
	if len(files) == 0 {
		ts.Fatalf("no file %q", args[0])
	}
}

// damage VOLUME: a byte is changed in the middle of the segment that holds most.
// If that is one large file, a frame of it is hit.
func damage(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: damage VOLUME")
	}
	files, err := filepath.Glob(ts.MkAbs(args[0] + "/segments/*.seg"))
	ts.Check(err)
	var fullest string
	var most []byte
	for _, f := range files {
		b, err := os.ReadFile(f)
		ts.Check(err)
		if b = bytes.TrimRight(b, "\x00"); len(b) > len(most) {
			fullest, most = f, b
		}
	}
	f, err := os.OpenFile(fullest, os.O_WRONLY, 0)
	ts.Check(err)
	defer f.Close()
	middle := len(most) / 2
	_, err = f.WriteAt([]byte{most[middle] ^ 0x40}, int64(middle))
	ts.Check(err)
}

func number(ts *testscript.TestScript, s string) int {
	n, err := strconv.Atoi(s)
	ts.Check(err)
	return n
}

// record VOLUME NAME OFFSET VALUE: a byte of a record of the catalog is set to
// VALUE, or made another one if that is -, by whoever has the host.
func record(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 4 {
		ts.Fatalf("usage: record VOLUME NAME OFFSET VALUE")
	}
	ctx := context.Background()
	v, err := local.Open(ts.MkAbs(args[0]))
	ts.Check(err)
	defer v.Close()
	w, err := v.Acquire(ctx, host.AcquireOptions{})
	ts.Check(err)
	r, err := w.Get(ctx, args[1])
	ts.Check(err)
	at := &r.Value[number(ts, args[2])]
	if *at ^= 0x40; args[3] != "-" {
		*at = byte(number(ts, args[3]))
	}
	_, err = w.Swap(ctx, args[1], r.Version, r.Value)
	ts.Check(err)
	ts.Check(w.Release(ctx))
}

// catalog VOLUME FORMAT: the format of the catalog is another.
func catalog(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: catalog VOLUME FORMAT")
	}
	db, err := bbolt.Open(ts.MkAbs(args[0]+"/catalog.db"), 0o600, nil)
	ts.Check(err)
	ts.Check(db.Update(func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte("volume")).Put([]byte("format"), []byte(args[1]))
	}))
	ts.Check(db.Close())
}

// lock FILE: somebody keeps the file locked until the end of the script.
func lock(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: lock FILE")
	}
	f, err := os.Open(ts.MkAbs(args[0]))
	ts.Check(err)
	ts.Check(unix.Flock(int(f.Fd()), unix.LOCK_EX))
	ts.Defer(func() { f.Close() })
}

// hold VOLUME: somebody holds the volume until the end of the script.
func hold(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: hold VOLUME")
	}
	v, err := local.Open(ts.MkAbs(args[0]))
	ts.Check(err)
	w, err := v.Acquire(context.Background(), host.AcquireOptions{Owner: "somebody"})
	ts.Check(err)
	ts.Defer(func() {
		_ = w.Release(context.Background())
		v.Close()
	})
}

// signal NAME VOLUME: who holds the volume gets that signal.
func signalHolder(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: signal NAME VOLUME")
	}
	h, err := holderOf(ts.MkAbs(args[1]))
	ts.Check(err)
	if h == nil {
		ts.Fatalf("nobody holds %q", args[1])
	}
	ts.Check(syscall.Kill(h.PID, unix.SignalNum("SIG"+args[0])))
	if args[0] == "STOP" {
		stopped(ts, h.PID)
	}
}

// stopped waits until a process is: its threads stop one after the other.
func stopped(ts *testscript.TestScript, pid int) {
	running := func(thread string) bool {
		status, err := os.ReadFile(thread)
		return err == nil && !bytes.Contains(status, []byte("\nState:\tT "))
	}
	for deadline := time.Now().Add(untilDeadline); ; runtime.Gosched() {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
		ts.Check(err)
		if !slices.ContainsFunc(threads, running) {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("process %d does not stop", pid)
		}
	}
}

// detached VOLUME: who holds the volume has a session of its own, and nothing in
// use of who started it.
func detached(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: detached VOLUME")
	}
	h, err := holderOf(ts.MkAbs(args[0]))
	ts.Check(err)
	if sid, err := unix.Getsid(h.PID); err != nil || sid != h.PID {
		ts.Fatalf("process %d is of session %d, %v", h.PID, sid, err)
	}
	proc := fmt.Sprintf("/proc/%d/", h.PID)
	if dir, err := os.Readlink(proc + "cwd"); err != nil || dir != "/" {
		ts.Fatalf("it works in %q, %v", dir, err)
	}
	for fd := range 3 {
		if to, err := os.Readlink(fmt.Sprint(proc, "fd/", fd)); err != nil || to != os.DevNull {
			ts.Fatalf("it has %s open as %d, %v", to, fd, err)
		}
	}
}

// untilDeadline bounds what a script waits for.
const untilDeadline = 30 * time.Second

// until COMMAND...: the command succeeds, after some time; with !, it fails.
func until(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 1 {
		ts.Fatalf("usage: until COMMAND ARGS")
	}
	for end := time.Now().Add(untilDeadline); ; time.Sleep(5 * time.Millisecond) {
		err := ts.Exec(args[0], args[1:]...)
		if (err != nil) == neg {
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("%q still ends with %v", args, err)
		}
	}
}

// same FILE FILE: mode, owner and modification time are the same.
func same(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: same FILE FILE")
	}
	what := func(name string) string {
		i, err := os.Lstat(ts.MkAbs(name))
		ts.Check(err)
		s := i.Sys().(*syscall.Stat_t)
		return fmt.Sprintf("%v %d:%d %v", i.Mode(), s.Uid, s.Gid, i.ModTime())
	}
	if a, b := what(args[0]), what(args[1]); (a == b) == neg {
		ts.Fatalf("%s is %s, %s is %s", args[0], a, args[1], b)
	}
}

// unmountBelow unmounts what a script that failed left mounted.
func unmountBelow(dir string) {
	b, _ := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 4 && strings.HasPrefix(f[4], dir+"/") {
			_ = unix.Unmount(f[4], unix.MNT_DETACH)
		}
	}
}
