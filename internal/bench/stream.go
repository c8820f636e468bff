package main

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

const (
	streamBytes   = 1 << 30
	bufferedBytes = 256 << 20
	randomBytes   = 64 << 20
)

func prepareStream(dir string) error {
	return writeFile(filepath.Join(dir, "file"), streamBytes, 1<<20, true)
}

func readStream(dir string) (float64, error) {
	n, err := readFile(filepath.Join(dir, "file"))
	return float64(n) / 1e6, err
}

// readRandom reads blocks in any order.
func readRandom(dir string) (float64, error) {
	f, err := os.Open(filepath.Join(dir, "file"))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	r := rand.New(rand.NewPCG(3, 4))
	buf := make([]byte, block)
	ops := 0
	for begun := time.Now(); time.Since(begun) < runFor; ops++ {
		if _, err := f.ReadAt(buf, r.Int64N(streamBytes/block)*block); err != nil {
			return 0, err
		}
	}
	return float64(ops), nil
}

// prepareRandom makes a file for each writer.
func prepareRandom(writers int) func(string) error {
	return func(dir string) error {
		for w := range writers {
			if err := writeFile(numbered(dir, w), randomBytes, 1<<20, true); err != nil {
				return err
			}
		}
		return nil
	}
}

// writeRandom overwrites blocks and makes each durable.
func writeRandom(writers int) func(string) (float64, error) {
	return func(dir string) (float64, error) {
		files := make([]*os.File, writers)
		for w := range files {
			f, err := os.OpenFile(numbered(dir, w), os.O_WRONLY, 0)
			if err != nil {
				return 0, err
			}
			defer f.Close()
			files[w] = f
		}
		buf := noise(block)
		return together(writers, func(w, _ int) error {
			if _, err := files[w].WriteAt(buf, rand.Int64N(randomBytes/block)*block); err != nil {
				return err
			}
			return unix.Fdatasync(int(files[w].Fd()))
		})
	}
}

func numbered(dir string, n int) string { return filepath.Join(dir, "file"+string(rune('0'+n))) }

// createFiles makes small files and each of them durable.
func createFiles(writers int) func(string) (float64, error) {
	return func(dir string) (float64, error) {
		for w := range writers {
			if err := os.Mkdir(numbered(dir, w), 0o755); err != nil {
				return 0, err
			}
		}
		return together(writers, func(w, op int) error { return createFile(numbered(dir, w), op) })
	}
}

var smallFile = noise(block)

func createFile(dir string, op int) error {
	f, err := os.Create(fileName(dir, op))
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(smallFile); err != nil {
		return err
	}
	return f.Sync()
}
