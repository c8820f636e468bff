package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"coffer": recorded, "scrape": scrape})
}

// The scripts in testdata/script are also how the commands are used.
func TestScripts(t *testing.T) {
	kds, seen, s := buildKDS(t), t.TempDir(), &scripts{}
	t.Cleanup(func() { s.checkSeen(t, seen) })
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			s.ran.Add(1)
			e.Setenv(seenEnv, seen)
			return setup(e, filepath.Dir(kds))
		},
		Condition: condition,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "node": node, "halt": halt, "restart": restart, "kills": kills, "forgotten": forgotten, "port": port, "terminal": terminal, "relay": func(ts *testscript.TestScript, neg bool, a []string) { relay(t, ts, neg, a) },
			"flip": flip, "lock": lock, "catalog": catalog, "damage": damage, "record": record, "until": until, "signal": signalHolder, "hold": hold, "detached": detached, "same": same,
			"bucket": func(ts *testscript.TestScript, neg bool, a []string) { bucket(t, ts, neg, a) },
			"asked":  asked, "begin": begin, "open": open, "certificate": certificate,
		},
	})
}

// buildKDS makes the program of the KDS, which is another package main.
func buildKDS(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "coffer-kds")
	if out, err := exec.Command("go", "build", "-o", path, "../coffer-kds").CombinedOutput(); err != nil {
		t.Fatalf("build coffer-kds: %v\n%s", err, out)
	}
	return path
}

func setup(e *testscript.Env, bin string) error {
	e.Setenv("PATH", bin+string(filepath.ListSeparator)+e.Getenv("PATH"))
	run := filepath.Join(e.WorkDir, ".run") // for sockets of mounts
	if err := os.Mkdir(run, 0o700); err != nil {
		return err
	}
	e.Setenv("XDG_RUNTIME_DIR", run)
	e.Setenv("GORACE", "atexit_sleep_ms=0") // or every command takes a second
	e.Defer(func() { unmountBelow(e.WorkDir) })
	return nil
}

// condition [fuse]: this machine can mount; [root]: we are root.
func condition(name string) (bool, error) {
	if name == "root" {
		return os.Getuid() == 0, nil
	}
	if name != "fuse" {
		return false, os.ErrInvalid
	}
	_, err := os.Stat("/dev/fuse")
	return err == nil, nil
}

// exits CODE COMMAND...: the command ends with that exit code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND ARGS")
	}
	code := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		exit, ok := err.(*exec.ExitError)
		if !ok {
			ts.Fatalf("%v", err)
		}
		code = exit.ExitCode()
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("exit code %d, want %s", code, args[0])
	}
}
