package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// A bar is shown on a terminal, after a second, and then counts from the start.
func TestBar(t *testing.T) {
	master, terminal, err := openTerminal()
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	defer terminal.Close()
	b := newBar(terminal, "copying", 100)
	_, _ = b.Write(make([]byte, 40))
	if b.shown {
		t.Error("it is shown at once")
	}
	b.begun = b.begun.Add(-2 * barAfter)
	_, _ = b.Write(make([]byte, 10))
	shown := make([]byte, 4096)
	n, err := master.Read(shown)
	if err != nil || !strings.Contains(string(shown[:n]), "copying") || !strings.Contains(string(shown[:n]), "50%") {
		t.Errorf("shown: %q, %v", shown[:n], err)
	}
	b.finish()
}

// Nothing is shown elsewhere.
func TestNoBar(t *testing.T) {
	var out bytes.Buffer
	b := newBar(&out, "copying", 100)
	b.begun = time.Time{}
	_, _ = b.Write(make([]byte, 50))
	b.set(100, 100)
	b.finish()
	if out.Len() > 0 {
		t.Errorf("shown: %q", &out)
	}
}

// openTerminal opens both ends of a terminal.
func openTerminal() (master, terminal *os.File, err error) {
	if master, err = os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		return nil, nil, err
	}
	fd, n := int(master.Fd()), 0
	if err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err == nil {
		n, err = unix.IoctlGetInt(fd, unix.TIOCGPTN)
	}
	if err == nil {
		terminal, err = os.OpenFile(fmt.Sprint("/dev/pts/", n), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		master.Close()
	}
	return master, terminal, err
}

// terminal FILE COMMAND...: the command runs on a terminal, and what it shows there goes
// to the file.
func terminal(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: terminal FILE COMMAND ARGS")
	}
	master, there, err := openTerminal()
	ts.Check(err)
	defer master.Close()
	shown := make(chan []byte)
	go func() {
		b, _ := io.ReadAll(master) // it fails when nobody has the other end any more
		shown <- b
	}()
	c := scriptCommand(context.Background(), ts, args[1:])
	c.Stdout, c.Stderr = there, there
	err = c.Run()
	there.Close()
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), <-shown, 0o600))
	ts.Check(err)
}
