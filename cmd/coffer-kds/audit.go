package main

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/coffer-fs/coffer/kds/audit"
	"github.com/coffer-fs/coffer/kds/audit/bolt"
)

// followEvery is how often tail --follow looks.
const followEvery = 500 * time.Millisecond

func newAudit() *cobra.Command {
	c := &cobra.Command{
		Use: "audit", Short: "Read and keep the audit log", Args: usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newAuditVerify(), newAuditTail(), newAuditExport(), newAuditRotate(), newAuditHead(), newAuditKeep())
	return c
}

// trustFlags say what a log is held against.
type trustFlags struct {
	keys []string
	kept string
}

func (f *trustFlags) add(c *cobra.Command) {
	c.Flags().StringSliceVar(&f.keys, "key", nil, "public key that may have signed, hexadecimal, as audit head prints it; may be repeated (default any)")
}

func (f *trustFlags) options() (o audit.VerifyOptions, err error) {
	for _, text := range f.keys {
		b, err := hex.DecodeString(text)
		if err != nil || len(b) != ed25519.PublicKeySize {
			return o, &failure{exitUsage, fmt.Errorf("--key %q is not a public key", text), "coffer-kds audit head URL prints it"}
		}
		o.Keys = append(o.Keys, b)
	}
	if f.kept == "" {
		return o, nil
	}
	b, err := readFile(f.kept)
	if err != nil {
		return o, err
	}
	h, err := audit.ParseHead(b)
	if err != nil {
		return o, &failure{exitAudit, fmt.Errorf("%s: %w", f.kept, err), ""}
	}
	o.Kept = &h
	return o, nil
}

func newAuditVerify() *cobra.Command {
	var f trustFlags
	c := &cobra.Command{
		Use:   "verify FILE...",
		Short: "Check that no line of an audit log was changed, made up, removed or moved",
		Long: `verify reads the files of a log, oldest first, and checks the chain of its lines and
the signatures of the node. Each is a file that a node or "audit keep" wrote, or an
export. The node may be running.

Without --key the log is shown to be whole, and not to be the node's: compare the keys
that are printed with what "audit head" said. Lines that were cut off the end are
found with a head that was kept elsewhere: --head FILE.`,
		Args: usage(cobra.MinimumNArgs(1)),
		RunE: func(c *cobra.Command, args []string) error { return verifyAudit(c, args, f) },
	}
	f.add(c)
	c.Flags().StringVar(&f.kept, "head", "", "file with a head that audit head printed before: the log must still have it")
	return c
}

func verifyAudit(c *cobra.Command, paths []string, f trustFlags) error {
	o, err := f.options()
	if err != nil {
		return err
	}
	events, s := map[audit.Event]int{}, audit.State{}
	for i, path := range paths {
		o.More = i < len(paths)-1
		s, err = verifyPart(c.Context(), path, 1, o, func(e audit.Entry) error { events[e.Event]++; return nil })
		if err != nil {
			return err
		}
		o.After = &s
	}
	out := c.OutOrStdout()
	fmt.Fprintf(out, "lines %d to %d\n", s.First, s.Lines)
	for _, e := range []audit.Event{audit.Started, audit.Released, audit.Refused, audit.Ordered, audit.Anchored, audit.MasterKey} {
		fmt.Fprintf(out, "%s %d\n", e, events[e])
	}
	fmt.Fprintf(out, "chain %s\n", s.Chain)
	for _, k := range s.Keys {
		fmt.Fprintf(out, "key %x\n", []byte(k))
	}
	return nil
}

// verifyPart verifies one file, from the batch on that has a line.
func verifyPart(ctx context.Context, path string, from uint64, o audit.VerifyOptions, visit func(audit.Entry) error) (audit.State, error) {
	r, stop, err := openPart(ctx, path, from)
	if err != nil {
		return audit.State{}, &failure{exitAudit, err, ""}
	}
	defer stop()
	s, err := audit.Verify(r, o, visit)
	if err == nil {
		return s, nil
	}
	hint := ""
	switch {
	case errors.Is(err, audit.ErrDamaged):
		hint = "the lines before it are whole; compare with a copy that was kept elsewhere"
	case errors.Is(err, audit.ErrCutOff):
		hint = "the log was set back: whoever keeps it has something to explain"
	case errors.Is(err, audit.ErrKey):
		hint = "a node has another key on another machine or of another build: ask it with \"coffer-kds audit head\""
	}
	return s, &failure{exitAudit, fmt.Errorf("%s: %w", path, err), hint}
}

// openPart reads a file of a log, or an export.
func openPart(ctx context.Context, path string, from uint64) (io.Reader, func(), error) {
	is, err := bolt.Is(path)
	if err != nil {
		return nil, nil, err
	}
	if !is {
		f, err := os.Open(path)
		return f, func() { _ = f.Close() }, err
	}
	r, w := io.Pipe()
	done := make(chan struct{})
	go func() { defer close(done); w.CloseWithError(bolt.Batches(ctx, path, from, w)) }()
	return r, func() { _ = r.Close(); <-done }, nil
}

func newAuditTail() *cobra.Command {
	var f trustFlags
	var lines uint64
	var follow bool
	c := &cobra.Command{
		Use:   "tail FILE",
		Short: "Print the last lines of an audit log, verified",
		Long: `tail prints entries as JSON, one a line. FILE is what a node or "audit keep" writes.
With --follow it goes on with what is added, until it is stopped.`,
		Args: usage(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error { return tailAudit(c, args[0], lines, follow, f) },
	}
	f.add(c)
	c.Flags().Uint64VarP(&lines, "lines", "n", 10, "how many lines")
	c.Flags().BoolVarP(&follow, "follow", "f", false, "go on with what is added")
	return c
}

func tailAudit(c *cobra.Command, path string, lines uint64, follow bool, f trustFlags) error {
	o, err := f.options()
	if err != nil {
		return err
	}
	next, err := bolt.Next(c.Context(), path)
	if err != nil {
		return &failure{exitAudit, err, ""}
	}
	from := next - min(lines, next-1)
	e := json.NewEncoder(c.OutOrStdout())
	e.SetEscapeHTML(false)
	for {
		s, err := verifyPart(c.Context(), path, from, o, func(entry audit.Entry) error {
			if entry.Sequence < from {
				return nil
			}
			return e.Encode(entry)
		})
		if err != nil {
			return err
		}
		if s.Lines > 0 {
			from, o.After = s.Lines+1, &s
		}
		if !follow {
			return nil
		}
		select {
		case <-c.Context().Done():
			return nil
		case <-time.After(followEvery):
		}
	}
}

func newAuditExport() *cobra.Command {
	var f trustFlags
	var from uint64
	var to string
	c := &cobra.Command{
		Use:   "export FILE...",
		Short: "Write an audit log as text, verified",
		Long: `export writes the lines with their signatures, one JSON text a line: "audit verify"
reads that anywhere, without the node. It begins with the batch that has the line
--from. The node may be running.`,
		Args: usage(cobra.MinimumNArgs(1)),
		RunE: func(c *cobra.Command, args []string) error { return exportAudit(c, args, from, to, f) },
	}
	f.add(c)
	c.Flags().Uint64Var(&from, "from", 1, "number of the first line")
	c.Flags().StringVarP(&to, "output", "o", "", "file to write to; it appears when all is verified (default standard output)")
	return c
}

func exportAudit(c *cobra.Command, paths []string, from uint64, to string, f trustFlags) (err error) {
	o, err := f.options()
	if err != nil {
		return err
	}
	out := c.OutOrStdout()
	if to != "" {
		file, err := os.OpenFile(to+".part", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
		if err != nil {
			return err
		}
		defer os.Remove(file.Name())
		defer file.Close()
		if err := exportParts(c.Context(), paths, from, o, file); err != nil {
			return err
		}
		return errors.Join(file.Sync(), os.Rename(file.Name(), to))
	}
	return exportParts(c.Context(), paths, from, o, out)
}

func exportParts(ctx context.Context, paths []string, from uint64, o audit.VerifyOptions, w io.Writer) error {
	for _, path := range paths {
		r, stop, err := openPart(ctx, path, from)
		if err != nil {
			return &failure{exitAudit, err, ""}
		}
		s, err := audit.Verify(io.TeeReader(r, w), o, nil)
		stop()
		if err != nil {
			return &failure{exitAudit, fmt.Errorf("%s: %w", path, err), ""}
		}
		if s.Lines > 0 {
			o.After = &s
		}
	}
	return nil
}

func newAuditRotate() *cobra.Command {
	return &cobra.Command{
		Use:   "rotate FILE",
		Short: "Begin a new file of an audit log",
		Long: `rotate renames FILE to FILE.NUMBER, by its first line, and begins a new one, in which the
chain goes on. The node may be running. Older files are never touched again; move
them where you like, and give them to verify before the newer ones.`,
		Args: usage(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			old, err := bolt.Rotate(c.Context(), args[0])
			if err != nil {
				return &failure{exitAudit, err, ""}
			}
			if old != "" {
				fmt.Fprintln(c.OutOrStdout(), old)
			}
			return nil
		},
	}
}
