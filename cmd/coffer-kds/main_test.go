package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/coffer-fs/coffer/internal/freeaddr"
	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/attest/platform"
	"github.com/coffer-fs/coffer/kds/attest/sim"
	"github.com/coffer-fs/coffer/kds/audit"
	"github.com/coffer-fs/coffer/kds/master/pkcs11"
	"github.com/coffer-fs/coffer/kds/orders"
	"github.com/coffer-fs/coffer/kds/policy"
	"github.com/coffer-fs/coffer/key"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"coffer-kds": main,
		"ask":        ask,
	})
}

// The scripts in testdata are also how the commands are used.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:   "testdata",
		Setup: setupQuotes,
		Condition: func(name string) (bool, error) {
			if name != "pkcs11" {
				return false, fmt.Errorf("unknown condition %q", name)
			}
			return pkcs11.Built, nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "node": node, "halt": halt, "damage": damage, "operator": operator, "nodeconfig": nodeconfigFile, "becomes": becomes,
			"keeper": keeper, "address": address, "auditkey": auditKey,
		},
	})
}

// exits CODE COMMAND...: the command ends with that exit code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND ARGS")
	}
	err := ts.Exec(args[1], args[2:]...)
	code := 0
	if e := (*exec.ExitError)(nil); err != nil {
		if !asExit(err, &e) {
			ts.Fatalf("%v", err)
		}
		code = e.ExitCode()
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("exit code %d, want %s", code, args[0])
	}
}

func asExit(err error, to **exec.ExitError) bool {
	e, ok := err.(*exec.ExitError)
	*to = e
	return ok
}

// node NAME ARGS...: a node runs in the background; its URL is in $NAME.
func node(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: node NAME ARGS")
	}
	background(ts, args[0], `^http://127\.0\.0\.1:[0-9]+$`, append([]string{"serve", "--listen", "127.0.0.1:0"}, args[1:]...))
}

// keeper NAME ARGS...: an audit log is kept in the background; its address is in
// $NAME.
func keeper(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: keeper NAME ARGS")
	}
	background(ts, args[0], `^(http://127\.0\.0\.1:[0-9]+|unix:.+)$`, append([]string{"audit", "keep"}, args[1:]...))
}

// background runs coffer-kds until it is halted. The line that it prints is in $NAME.
func background(ts *testscript.TestScript, name, says string, args []string) {
	path, err := exec.LookPath("coffer-kds")
	ts.Check(err)
	c := exec.Command(path, args...)
	c.Dir = ts.MkAbs(".")
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	ts.Check(err)
	ts.Check(c.Start())
	ts.Setenv(name+"_PID", strconv.Itoa(c.Process.Pid))
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		ts.Fatalf("the node printed no URL")
	}
	if !regexp.MustCompile(says).MatchString(lines.Text()) {
		ts.Fatalf("the node printed %q", lines.Text())
	}
	ts.Setenv(name, lines.Text())
	done := make(chan error, 1)
	go func() {
		for lines.Scan() {
			done <- fmt.Errorf("the node printed more: %q", lines.Text())
		}
		done <- c.Wait()
	}()
	running.Store(name+ts.MkAbs("."), done)
	ts.Defer(func() { _ = c.Process.Kill() })
}

// running holds, by name and script, how nodes end: chan error.
var running sync.Map

// halt NAME SIGNAL: the node ends by itself, without an error.
func halt(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: halt NAME SIGNAL")
	}
	pid, err := strconv.Atoi(ts.Getenv(args[0] + "_PID"))
	ts.Check(err)
	ts.Check(syscall.Kill(pid, map[string]syscall.Signal{"TERM": syscall.SIGTERM, "INT": syscall.SIGINT, "KILL": syscall.SIGKILL}[args[1]]))
	done, _ := running.Load(args[0] + ts.MkAbs("."))
	select {
	case err := <-done.(chan error):
		if args[1] != "KILL" {
			ts.Check(err)
		}
	case <-time.After(20 * time.Second):
		ts.Fatalf("the node did not stop")
	}
}

// damage FILE TEXT: the first of TEXT in FILE becomes something else.
func damage(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: damage FILE TEXT")
	}
	b := ts.ReadFile(args[0])
	if !strings.Contains(b, args[1]) {
		ts.Fatalf("no %q in %s", args[1], args[0])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.Replace(b, args[1], strings.Repeat("X", len(args[1])), 1)), 0o600))
}

// address NAME: an address that is free is in $NAME.
func address(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: address NAME")
	}
	address, err := freeaddr.New()
	ts.Check(err)
	ts.Setenv(args[0], address)
}

// auditkey NAME FILE: the key that signed the head in FILE is in $NAME.
func auditKey(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: auditkey NAME FILE")
	}
	h, err := audit.ParseHead([]byte(ts.ReadFile(args[1])))
	ts.Check(err)
	ts.Setenv(args[0], fmt.Sprintf("%x", []byte(h.Key)))
}

// ask URL NAME POLICY: a simulated enclave asks for a key and prints a name of
// what it got: the same key has the same name.
func ask() {
	k, err := get(os.Args[1], os.Args[2], os.Args[3])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Printf("%x\n", k.Derive(nil, "a name for the test").Bytes())
}

func get(url, name, text string) (key.Key, error) {
	trusted, err := policy.Parse("S:" + string(sim.DefaultSigner) + " PROD:1 SEC:INSECURE")
	if err != nil {
		return key.Key{}, err
	}
	who, err := policy.Parse(text)
	if err != nil {
		return key.Key{}, err
	}
	dir, err := os.MkdirTemp("", "cpu")
	if err != nil {
		return key.Key{}, err
	}
	defer os.RemoveAll(dir)
	p, err := platform.Open(platform.Sim, platform.Options{CPU: dir})
	if err != nil {
		return key.Key{}, err
	}
	c := kds.Client{URL: url, Platform: p, Verifier: platform.Verifier(p), Constraint: trusted}
	return c.Private(context.Background(), kds.Spec{Name: name, MasterKeyType: kds.Development, PolicyConstraint: who}, kds.Storage)
}

// The table of exit codes is whole, and the same in the manual.
func TestExitCodes(t *testing.T) {
	manual, err := os.ReadFile(filepath.Join("..", "..", "docs", "protocol.md"))
	if err != nil {
		t.Fatal(err)
	}
	for code := range len(exitCodes) {
		text, ok := exitCodes[code]
		if !ok {
			t.Errorf("code %d is not in the table", code)
		}
		if row := fmt.Sprintf("| %d | %s |", code, text); !strings.Contains(string(manual), row) {
			t.Errorf("docs/protocol.md lacks %q", row)
		}
	}
}

// operator NAME FILE: the public key of the operator whose key is in FILE is in
// $NAME.
func operator(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: operator NAME FILE")
	}
	k, err := orders.OperatorKey(ts.MkAbs(args[1]))
	ts.Check(err)
	ts.Setenv(args[0], fmt.Sprintf("%x", k.Public()))
}
