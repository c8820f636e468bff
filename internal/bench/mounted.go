package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// mountTimeout bounds the wait for a mount, and for its process to end.
const mountTimeout = time.Minute

// mounted is a filesystem that a process serves in the foreground.
type mounted struct {
	label, point string
	command      []string
	environment  []string // added to ours
	input        string

	process *exec.Cmd     // nil while it is not mounted
	said    *bytes.Buffer // by process
	ended   chan error    // gets the end of process
	highest int64         // peak of earlier processes, bytes
}

func (m *mounted) name() string { return m.label }
func (m *mounted) dir() string  { return m.point }
func (m *mounted) close() error { return m.unmount() }

func (m *mounted) begin() error {
	if err := os.MkdirAll(m.point, 0o755); err != nil {
		return err
	}
	return m.mount()
}

// mount starts the process and returns when the filesystem is there.
func (m *mounted) mount() error {
	c := exec.Command(m.command[0], m.command[1:]...)
	m.said = &bytes.Buffer{}
	c.Stdin, c.Stdout, c.Stderr = strings.NewReader(m.input), m.said, m.said
	c.Env = append(os.Environ(), m.environment...)
	if err := c.Start(); err != nil {
		return err
	}
	m.process, m.ended = c, make(chan error, 1)
	go func() { m.ended <- c.Wait() }()
	for begun := time.Now(); !isMounted(m.point); {
		select {
		case err := <-m.ended:
			m.process = nil
			return fmt.Errorf("%s ended: %v: %s", strings.Join(m.command, " "), err, m.said)
		case <-time.After(time.Millisecond):
		}
		if time.Since(begun) > mountTimeout {
			return errors.Join(fmt.Errorf("%s: not mounted after %v", m.label, mountTimeout), c.Process.Kill())
		}
	}
	return nil
}

func isMounted(point string) bool {
	var here, up unix.Stat_t
	if unix.Stat(point, &here) != nil || unix.Stat(filepath.Dir(point), &up) != nil {
		return false
	}
	return here.Dev != up.Dev
}

// unmount returns when the process has ended: then all is on disk.
func (m *mounted) unmount() error {
	if m.process == nil {
		return nil
	}
	m.highest = max(m.highest, m.peak())
	var err error
	for begun := time.Now(); time.Since(begun) < mountTimeout; time.Sleep(10 * time.Millisecond) {
		if err = unix.Unmount(m.point, 0); err != unix.EBUSY {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("unmount %s: %w", m.label, err)
	}
	select {
	case err = <-m.ended:
	case <-time.After(mountTimeout):
		err = errors.Join(errors.New("it does not end"), m.process.Process.Kill())
	}
	m.process = nil
	if err != nil {
		return fmt.Errorf("unmount %s: %w: %s", m.label, err, m.said)
	}
	return nil
}

// peak implements contender: VmHWM of the process, or what an earlier one had.
func (m *mounted) peak() int64 {
	if m.process == nil {
		return m.highest
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", m.process.Process.Pid))
	if err != nil {
		return m.highest
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	kib, _ := strconv.ParseInt(strings.Fields(rest + " 0")[0], 10, 64)
	return max(m.highest, kib<<10)
}

// quiet runs a command and shows what it said only if it failed.
func quiet(args ...string) error { return quietIn("", args...) }

func quietIn(dir string, args ...string) error {
	c := exec.Command(args[0], args[1:]...)
	c.Dir = dir
	out, err := c.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}
