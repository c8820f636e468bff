package main

import (
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// workload is something to be done in an empty directory.
type workload struct {
	name    string
	unit    string // of amount per second: more is better
	cold    bool   // with nothing cached
	prepare func(dir string) error
	run     func(dir string) (amount float64, err error)
}

const (
	streamBytes = 512 << 20
	randomFile  = 64 << 20
	block       = 4096
	randomFor   = 3 * time.Second
)

var workloads = []workload{
	{name: "sequential write 512 MiB + fsync", unit: "MB/s", run: writeStream},
	{name: "cold sequential read 512 MiB", unit: "MB/s", cold: true, prepare: prepareStream, run: readStream},
	{name: "4 KiB random write + fdatasync", unit: "ops/s", prepare: prepareRandom, run: writeRandom},
	{name: "cp -a of the Go src tree + sync", unit: "files/s", run: copyTree},
	{name: "cold ls -lR", unit: "files/s", cold: true, prepare: prepareTree, run: listTree},
	{name: "rm -rf + sync", unit: "files/s", prepare: prepareTree, run: removeTree},
}

// noise fills p so that nothing can compress it.
func noise(p []byte) { rand.NewChaCha8([32]byte{7}).Read(p) }

func writeStream(dir string) (float64, error) { return streamBytes / 1e6, writeFile(dir, streamBytes) }

func writeFile(dir string, size int) error {
	f, err := os.Create(filepath.Join(dir, "file"))
	if err != nil {
		return err
	}
	defer f.Close()
	buf := make([]byte, 1<<20)
	noise(buf)
	for range size / len(buf) {
		if _, err := f.Write(buf); err != nil {
			return err
		}
	}
	return f.Sync()
}

func prepareStream(dir string) error { return writeFile(dir, streamBytes) }

func readStream(dir string) (float64, error) {
	f, err := os.Open(filepath.Join(dir, "file"))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{f}, make([]byte, 1<<20))
	return float64(n) / 1e6, err
}

func prepareRandom(dir string) error { return writeFile(dir, randomFile) }

func writeRandom(dir string) (float64, error) {
	f, err := os.OpenFile(filepath.Join(dir, "file"), os.O_WRONLY, 0)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	r := rand.New(rand.NewPCG(1, 2))
	buf := make([]byte, block)
	noise(buf)
	ops := 0
	for begun := time.Now(); time.Since(begun) < randomFor; ops++ {
		if _, err := f.WriteAt(buf, r.Int64N(randomFile/block)*block); err != nil {
			return 0, err
		}
		if err := unix.Fdatasync(int(f.Fd())); err != nil {
			return 0, err
		}
	}
	return float64(ops), nil
}

// goSrc is a real tree of many small files.
func goSrc() string { return filepath.Join(goroot(), "src") }

func goroot() string {
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		panic(err) // the bench is started by go run
	}
	return strings.TrimSpace(string(out))
}

// countFiles counts the regular files below dir.
func countFiles(dir string) (n float64, err error) {
	err = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			n++
		}
		return err
	})
	return n, err
}

func copyTree(dir string) (float64, error) {
	if err := prepareTree(dir); err != nil {
		return 0, err
	}
	return countFiles(goSrc())
}

func prepareTree(dir string) error {
	if err := command("cp", "-a", goSrc(), dir); err != nil {
		return err
	}
	return settle(dir)
}

// settle has everything on the disk, on any contender: the kernel does not tell a
// FUSE filesystem of syncfs, but of fsync of a directory it does.
func settle(dir string) error {
	if err := command("sync", dir); err != nil {
		return err
	}
	syncAll()
	return nil
}

func listTree(dir string) (float64, error) {
	if err := command("ls", "-lR", dir); err != nil {
		return 0, err
	}
	return countFiles(goSrc())
}

func removeTree(dir string) (float64, error) {
	if err := command("rm", "-rf", filepath.Join(dir, "src")); err != nil {
		return 0, err
	}
	if err := settle(dir); err != nil {
		return 0, err
	}
	return countFiles(goSrc())
}

func command(name string, args ...string) error {
	c := exec.Command(name, args...)
	c.Stderr = os.Stderr
	return c.Run()
}
