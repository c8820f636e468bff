package main

import (
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// workload is something to be done in a directory.
type workload struct {
	name  string
	unit  string // of amount per second: more is better
	cold  bool   // with nothing cached
	lists bool   // it asks for access control lists
	// shared is the directory that it leaves to those behind it in the same round,
	// which then need not prepare it: copying a tree takes longer than most of what is
	// done with it. Otherwise the directory is its own.
	shared  string
	prepare func(dir string) error
	run     func(dir string) (amount float64, err error)
	finish  func(dir string) error // even after an error
}

const block = 4096

// runFor is how long a workload without an end goes on.
const runFor = 2 * time.Second

var workloads = []workload{
	{name: "sequential write 1 GiB + fsync", unit: "MB/s", run: func(dir string) (float64, error) {
		return streamBytes / 1e6, writeFile(filepath.Join(dir, "file"), streamBytes, 1<<20, true)
	}},
	{name: "cold sequential read 1 GiB", unit: "MB/s", cold: true, prepare: prepareStream, run: readStream},
	{name: "cold 4 KiB random read", unit: "ops/s", cold: true, prepare: prepareStream, run: readRandom},
	{name: "4 KiB random write + fdatasync, 1 writer", unit: "ops/s", prepare: prepareRandom(1), run: writeRandom(1)},
	{name: "4 KiB random write + fdatasync, 4 writers", unit: "ops/s", prepare: prepareRandom(4), run: writeRandom(4)},
	{name: "buffered 4 KiB sequential write", unit: "MB/s", run: func(dir string) (float64, error) {
		return bufferedBytes / 1e6, writeFile(filepath.Join(dir, "file"), bufferedBytes, block, false)
	}},
	{name: "create + write + fsync of 4 KiB, 1 writer", unit: "files/s", run: createFiles(1)},
	{name: "create + write + fsync of 4 KiB, 4 writers", unit: "files/s", run: createFiles(4)},
	{name: "cp -a of the Go src tree + sync", shared: "tree", unit: "files/s", run: copyTree},
	{name: "cold ls -lR", shared: "tree", unit: "files/s", cold: true, lists: true, prepare: prepareTree, run: walkTree("ls", "-lR", ".")},
	{name: "cold grep -r", shared: "tree", unit: "files/s", cold: true, prepare: prepareTree, run: walkTree("grep", "-rc", "no such words", ".")},
	{name: "rm -rf + sync", shared: "tree", unit: "files/s", prepare: prepareTree, run: removeTree},
	{name: "git status", shared: "git", unit: "files/s", cold: true, prepare: prepareRepository, run: gitStatus},
	{name: "git clone", shared: "git", unit: "files/s", prepare: prepareRepository, run: gitClone},
	{name: "SQLite transactions, rollback journal", unit: "tx/s", prepare: prepareSQLite("delete"), run: runSQLite("delete")},
	{name: "SQLite transactions, write-ahead log", unit: "tx/s", prepare: prepareSQLite("wal"), run: runSQLite("wal")},
	{name: "pgbench, 1 client", unit: "tx/s", prepare: preparePostgres, run: runPostgres(1), finish: stopPostgres},
	{name: "pgbench, 4 clients", unit: "tx/s", prepare: preparePostgres, run: runPostgres(4), finish: stopPostgres},
}

// allNames are the workloads of all parts, in the order of the table.
func allNames() []string {
	var names []string
	for _, w := range workloads {
		names = append(names, w.name)
	}
	for _, w := range libraryWorkloads {
		names = append(names, w.name)
	}
	for _, s := range stages {
		for _, p := range probes {
			names = append(names, p.name+", "+s.name)
		}
	}
	return names
}

// noise returns n bytes that nothing can compress.
func noise(n int) []byte {
	p := make([]byte, n)
	rand.Read(p)
	return p
}

// writeFile writes a file in pieces.
func writeFile(path string, size, piece int, sync bool) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	buf := noise(piece)
	for range size / piece {
		if _, err := f.Write(buf); err != nil {
			return err
		}
	}
	if sync {
		return f.Sync()
	}
	return f.Close()
}

// readFile reads a file to its end and returns how much there was.
func readFile(path string) (int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{f}, make([]byte, 1<<20))
}

// settle has everything on the disk, on any contender: the kernel does not tell a
// FUSE filesystem of syncfs, but of fsync of a directory it does.
func settle(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	unix.Sync()
	return d.Sync()
}

// together runs do as often at the same time, for runFor, until one fails, and
// returns how often it was done.
func together(writers int, do func(writer, op int) error) (float64, error) {
	var wg sync.WaitGroup
	counts, errs := make([]int, writers), make([]error, writers)
	begun := time.Now()
	for w := range writers {
		wg.Go(func() {
			for time.Since(begun) < runFor && errs[w] == nil {
				errs[w] = do(w, counts[w])
				counts[w]++
			}
		})
	}
	wg.Wait()
	total := 0
	for w := range writers {
		if errs[w] != nil {
			return 0, fmt.Errorf("writer %d: %w", w, errs[w])
		}
		total += counts[w]
	}
	return float64(total), nil
}

// in runs a command in a directory and throws away what it prints. A status that
// the command has for "found nothing" is no error.
func in(dir string, fine int, args ...string) error {
	c := exec.Command(args[0], args[1:]...)
	c.Dir, c.Stderr = dir, os.Stderr
	err := c.Run()
	if fine != 0 && c.ProcessState != nil && c.ProcessState.ExitCode() == fine {
		return nil
	}
	return err
}
