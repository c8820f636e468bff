package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// contender is a filesystem to be measured.
type contender interface {
	name() string
	dir() string // where it can be used
	mount() error
	unmount() error
	// peak is the most memory its process had resident since it was mounted, in
	// bytes; 0 if it has no process.
	peak() int64
	close() error
}

// noACL is coffer mounted without access control lists, which the others don't have
// either; it is measured where lists are asked for.
const noACL = "no-acl"

// makers make the contenders, in the order of the table. A missing program is
// no error: that one is not measured.
var makers = []struct {
	name    string
	program string // that must be installed
	make    func(dir string) (contender, error)
}{
	{"coffer", "", func(dir string) (contender, error) { return newCoffer(dir, "16g") }},
	{noACL, "", func(dir string) (contender, error) { return newCoffer(dir, "16g", "--no-acl") }},
	{"gocryptfs", "gocryptfs", newGocryptfs},
	{"securefs", "securefs", newSecurefs},
	{"cryfs", "cryfs", newCryfs},
	{"plain", "", newPlain},
}

// newContenders prepares those of the named contenders that are installed, each in
// its own directory of the same disk.
func newContenders(work string, names []string) (cs []contender, err error) {
	for _, m := range makers {
		if !slices.Contains(names, m.name) {
			continue
		}
		if m.program != "" {
			if _, err := exec.LookPath(m.program); err != nil {
				fmt.Fprintf(os.Stderr, "%s is not installed and not measured: apt-get install %s\n", m.name, m.program)
				continue
			}
		}
		c, err := m.make(filepath.Join(work, m.name))
		if err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", m.name, err), closeAll(cs))
		}
		cs = append(cs, c)
	}
	return cs, nil
}

func closeAll(cs []contender) (err error) {
	for _, c := range cs {
		err = errors.Join(err, c.close())
	}
	return err
}

// cool drops everything that is cached of c, in its process and in the kernel.
func cool(c contender) error {
	if err := c.unmount(); err != nil {
		return err
	}
	if err := dropCaches(); err != nil {
		return err
	}
	return c.mount()
}

func dropCaches() error {
	unix.Sync()
	if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0); err != nil {
		return fmt.Errorf("cold reads need root: %w", err)
	}
	return nil
}

// plain is the directory below.
type plain string

func newPlain(dir string) (contender, error) { return plain(dir), os.Mkdir(dir, 0o755) }

func (p plain) name() string   { return "plain" }
func (p plain) dir() string    { return string(p) }
func (p plain) mount() error   { return nil }
func (p plain) unmount() error { return nil }
func (p plain) peak() int64    { return 0 }
func (p plain) close() error   { return nil }

// newCoffer makes a volume of that size, and mounts it with more flags.
func newCoffer(dir, size string, more ...string) (contender, error) {
	volume, config := filepath.Join(dir, "volume"), filepath.Join(dir, "config.hcl")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	if err := os.WriteFile(config, []byte("persistentFileSystemSize = \""+size+"\"\n"), 0o644); err != nil {
		return nil, err
	}
	flags := []string{"--config", config, "--sim-cpu", filepath.Join(dir, "cpu")}
	if err := quiet(append([]string{"bin/coffer", "init", volume}, flags...)...); err != nil {
		return nil, err
	}
	m := &mounted{label: filepath.Base(dir), point: filepath.Join(dir, "mnt")}
	m.command = append([]string{"bin/coffer", "mount", "--foreground", "--allow-other", volume, m.point}, append(flags, more...)...)
	return m, m.begin()
}

func newGocryptfs(dir string) (contender, error) {
	m := &mounted{label: "gocryptfs", point: filepath.Join(dir, "mnt")}
	cipher, password := filepath.Join(dir, "cipher"), filepath.Join(dir, "password")
	m.command = []string{"gocryptfs", "-q", "-fg", "-allow_other", "-passfile", password, cipher, m.point}
	if err := makeCipherDir(cipher, password); err != nil {
		return nil, err
	}
	if err := quiet("gocryptfs", "-q", "-init", "-scryptn", "10", "-passfile", password, cipher); err != nil {
		return nil, err
	}
	return m, m.begin()
}

func newSecurefs(dir string) (contender, error) {
	m := &mounted{label: "securefs", point: filepath.Join(dir, "mnt")}
	cipher, password := filepath.Join(dir, "cipher"), filepath.Join(dir, "password")
	m.command = []string{"securefs", "mount", "-o", "allow_other", "--keyfile", password, "--pass", "benchmark", cipher, m.point}
	if err := makeCipherDir(cipher, password); err != nil {
		return nil, err
	}
	if err := quiet("securefs", "create", "--keyfile", password, "--pass", "benchmark", "-r", "1", cipher); err != nil {
		return nil, err
	}
	return m, m.begin()
}

func newCryfs(dir string) (contender, error) {
	m := &mounted{label: "cryfs", point: filepath.Join(dir, "mnt"), input: "benchmark\n"}
	cipher := filepath.Join(dir, "cipher")
	// The same cipher as the others.
	m.command = []string{"cryfs", "-f", "-o", "allow_other", "--cipher", "aes-256-gcm", cipher, m.point}
	m.environment = []string{"CRYFS_FRONTEND=noninteractive", "CRYFS_NO_UPDATE_CHECK=true", "CRYFS_LOCAL_STATE_DIR=" + filepath.Join(dir, "state")}
	if err := os.MkdirAll(cipher, 0o755); err != nil {
		return nil, err
	}
	return m, m.begin()
}

func makeCipherDir(cipher, password string) error {
	if err := os.MkdirAll(cipher, 0o755); err != nil {
		return err
	}
	return os.WriteFile(password, []byte("benchmark\n"), 0o600)
}
