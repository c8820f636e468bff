package main

import (
	"bufio"
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
)

// withInput reads a file, or standard input if path is "-".
func withInput(c *cobra.Command, path string, fn func(io.Reader) error) error {
	if path == "-" {
		return fn(c.InOrStdin())
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return fn(f)
}

// withOutput writes to standard output if path is "-", and otherwise a file that
// is there when it is whole and on the disk. What was at its place is replaced.
func withOutput(c *cobra.Command, path string, fn func(io.Writer) error) error {
	if path == "-" {
		w := bufio.NewWriter(c.OutOrStdout())
		return errors.Join(fn(w), w.Flush())
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".coffer-mail-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	w := bufio.NewWriter(tmp)
	if err := errors.Join(fn(w), w.Flush(), tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}
