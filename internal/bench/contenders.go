package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// contender is a filesystem to be measured.
type contender interface {
	name() string
	dir() string // where it can be used
	unmount() error
	mount() error
	close() error
}

// newContenders prepares coffer, gocryptfs if it is installed, and the plain
// directory, each in its own directory of the same disk.
func newContenders(work string) ([]contender, error) {
	c, err := newCoffer(filepath.Join(work, "coffer"))
	if err != nil {
		return nil, err
	}
	cs := []contender{c}
	if _, err := exec.LookPath("gocryptfs"); err == nil {
		g, err := newGocryptfs(filepath.Join(work, "gocryptfs"))
		if err != nil {
			return nil, errors.Join(err, c.close())
		}
		cs = append(cs, g)
	} else {
		fmt.Fprintln(os.Stderr, "gocryptfs is not installed and not measured: apt-get install gocryptfs")
	}
	p := plain(filepath.Join(work, "plain"))
	return append(cs, p), os.Mkdir(string(p), 0o755)
}

// cool drops everything that is cached of c, in its process and in the kernel.
func cool(c contender) error {
	if err := c.unmount(); err != nil {
		return err
	}
	syncAll()
	if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0); err != nil {
		return fmt.Errorf("cold reads need root: %w", err)
	}
	return c.mount()
}

func syncAll() { unix.Sync() }

// plain is the directory below.
type plain string

func (p plain) name() string   { return "plain" }
func (p plain) dir() string    { return string(p) }
func (p plain) unmount() error { return nil }
func (p plain) mount() error   { return nil }
func (p plain) close() error   { return nil }

// mounted is a filesystem that programs mount and unmount.
type mounted struct {
	label, point string
	up, down     []string
}

func (m *mounted) name() string   { return m.label }
func (m *mounted) dir() string    { return m.point }
func (m *mounted) mount() error   { return quiet(m.up...) }
func (m *mounted) unmount() error { return quiet(m.down...) }
func (m *mounted) close() error   { return m.unmount() }

// quiet runs a command and shows what it said only if it failed.
func quiet(args ...string) error {
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}

const benchConfig = `persistentFileSystemSize = "8g"` + "\n"

func newCoffer(dir string) (*mounted, error) {
	point, volume, config := filepath.Join(dir, "mnt"), filepath.Join(dir, "volume"), filepath.Join(dir, "config.hcl")
	if err := os.MkdirAll(point, 0o755); err != nil {
		return nil, err
	}
	if err := os.WriteFile(config, []byte(benchConfig), 0o644); err != nil {
		return nil, err
	}
	flags := []string{"--config", config, "--sim-cpu", filepath.Join(dir, "cpu")}
	m := &mounted{"coffer", point,
		append([]string{"bin/coffer", "mount", volume, point}, flags...), []string{"bin/coffer", "umount", point}}
	if err := quiet(append([]string{"bin/coffer", "init", volume}, flags...)...); err != nil {
		return nil, err
	}
	return m, m.mount()
}

func newGocryptfs(dir string) (*mounted, error) {
	point, cipher, password := filepath.Join(dir, "mnt"), filepath.Join(dir, "cipher"), filepath.Join(dir, "password")
	for _, d := range []string{point, cipher} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return nil, err
		}
	}
	if err := os.WriteFile(password, []byte("benchmark\n"), 0o600); err != nil {
		return nil, err
	}
	m := &mounted{"gocryptfs", point,
		[]string{"gocryptfs", "-q", "-passfile", password, cipher, point}, []string{"fusermount3", "-u", point}}
	if err := quiet("gocryptfs", "-q", "-init", "-scryptn", "10", "-passfile", password, cipher); err != nil {
		return nil, err
	}
	return m, m.mount()
}
