package main

import (
	"context"
	"io"
	"io/fs"

	"github.com/coffer-fs/coffer"
)

// interruptible is a reader that ends with its context, even while it waits.
type interruptible struct {
	ctx context.Context
	r   io.Reader
}

// Read implements io.Reader. After its context ended, p must not be used.
func (r *interruptible) Read(p []byte) (int, error) {
	type result struct {
		n   int
		err error
	}
	done := make(chan result, 1)
	go func() {
		n, err := r.r.Read(p)
		done <- result{n, err}
	}()
	select {
	case got := <-done:
		return got.n, got.err
	case <-r.ctx.Done():
		return 0, r.ctx.Err()
	}
}

// stopping is a reader that ends with its context, between two reads.
type stopping struct {
	ctx context.Context
	r   io.Reader
}

// Read implements io.Reader.
func (r *stopping) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}

// dirBatch is how many entries of a directory are in memory at once.
const dirBatch = 512

// readDir calls fn for each entry of a directory, in the order of their creation.
func readDir(v *coffer.Volume, path string, fn func(name string, i fs.FileInfo) error) error {
	dir, err := v.Open(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	for {
		es, err := dir.ReadDir(dirBatch)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		for _, e := range es {
			i, err := e.Info()
			if err == nil {
				err = fn(e.Name(), i)
			}
			if err != nil {
				return err
			}
		}
	}
}
