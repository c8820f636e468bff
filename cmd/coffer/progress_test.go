package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A bar is shown on a terminal, after a second, and then counts from the start.
func TestBar(t *testing.T) {
	master, terminal := openTerminal(t)
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
func openTerminal(t *testing.T) (master, terminal *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close() })
	fd := int(master.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	terminal, err = os.OpenFile(fmt.Sprint("/dev/pts/", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { terminal.Close() })
	return master, terminal
}
