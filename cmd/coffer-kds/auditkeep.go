package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/net/netutil"

	"github.com/coffer-fs/coffer/kds/audit"
	"github.com/coffer-fs/coffer/kds/audit/bolt"
	"github.com/coffer-fs/coffer/kds/audit/remote"
)

const (
	minTokenBytes = 16
	maxTokenBytes = 1 << 10
	// keepConnections is how many clients a keeper has at once.
	keepConnections = 16
)

// keepFlags are the flags of audit keep.
type keepFlags struct {
	listen, tokenFile string
	fileBytes         int64
}

func newAuditKeep() *cobra.Command {
	var f keepFlags
	c := &cobra.Command{
		Use:   "keep FILE --listen unix:PATH|tcp:127.0.0.1:PORT",
		Short: "Keep the audit log of a node in an enclave, until SIGTERM or SIGINT",
		Long: `keep is the host's side of a node that runs in an enclave: it keeps the audit log in
FILE for "coffer-kds serve --audit". It has no key, and is not trusted. When it is
ready it prints one line, the address for --audit. It may be killed and started anew
at any moment: the node waits some seconds for it.

On TCP there must be a token, and the address must be this machine's own.`,
		Args: usage(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error { return f.keep(c, args[0]) },
	}
	c.Flags().StringVar(&f.listen, "listen", "", "unix:PATH or tcp:127.0.0.1:PORT (required)")
	c.Flags().StringVar(&f.tokenFile, "token-file", "", "file with the token that the node must show")
	c.Flags().Int64Var(&f.fileBytes, "file-bytes", bolt.DefaultFileBytes, "how large FILE becomes before the next one is begun")
	_ = c.MarkFlagRequired("listen")
	return c
}

func (f keepFlags) keep(c *cobra.Command, path string) error {
	token, err := readToken(f.tokenFile)
	if err != nil {
		return err
	}
	l, address, err := f.listener(token != "")
	if err != nil {
		return err
	}
	defer l.Close()
	s, err := bolt.Open(path, bolt.Options{FileBytes: f.fileBytes})
	if err != nil {
		return badStore(err, "another process keeps this log")
	}
	defer s.Close()
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil))
	h := &http.Server{Handler: remote.Handler(s, token, logger), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: audit.StoreTimeout,
		WriteTimeout: 2 * audit.StoreTimeout, MaxHeaderBytes: 8 << 10, ErrorLog: slog.NewLogLogger(logger.Handler(), slog.LevelWarn)}
	fmt.Fprintln(c.OutOrStdout(), address)
	return serveUntil(c.Context(), h, l)
}

// serveUntil serves until ctx ends, and finishes what has begun.
func serveUntil(ctx context.Context, h *http.Server, l net.Listener) error {
	failed := make(chan error, 1)
	go func() { failed <- h.Serve(netutil.LimitListener(l, keepConnections)) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), audit.StoreTimeout)
	defer cancel()
	err := h.Shutdown(stop)
	<-failed
	return err
}

func (f keepFlags) listener(token bool) (net.Listener, string, error) {
	network, address, _ := strings.Cut(f.listen, ":")
	bad := func(err error) error {
		return &failure{exitUsage, fmt.Errorf("--listen %q: %w", f.listen, err), "it is unix:PATH, or tcp:127.0.0.1:PORT with --token-file"}
	}
	switch network {
	case "unix":
		l, err := listenUnix(address)
		if err != nil {
			return nil, "", &failure{exitListen, err, "is another one running? a file that is no socket is not replaced"}
		}
		return l, "unix:" + address, nil
	case "tcp":
		at, err := net.ResolveTCPAddr("tcp", address)
		switch {
		case err != nil:
			return nil, "", bad(err)
		case !at.IP.IsLoopback() || !token:
			return nil, "", bad(errors.New("others can reach it"))
		}
		l, err := net.ListenTCP("tcp", at)
		if err != nil {
			return nil, "", &failure{exitListen, err, "use another --listen; port 0 takes any that is free"}
		}
		return l, "http://" + l.Addr().String(), nil
	}
	return nil, "", bad(errors.New("unknown kind"))
}

// listenUnix makes a socket that is this user's alone, in place of one at which
// nobody listens.
func listenUnix(path string) (net.Listener, error) {
	if c, err := net.Dial("unix", path); err == nil {
		return nil, errors.Join(fmt.Errorf("%q: %w", path, syscall.EADDRINUSE), c.Close())
	}
	if info, err := os.Lstat(path); err == nil && info.Mode().Type() == os.ModeSocket {
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	old := syscall.Umask(0o177)
	defer syscall.Umask(old)
	return net.Listen("unix", path)
}

// readToken reads a token: one line of printable characters; none if there is no
// file.
func readToken(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	file, err := os.Open(path)
	if err != nil {
		return "", &failure{exitUsage, err, ""}
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, maxTokenBytes+1))
	if err != nil {
		return "", err
	}
	b = bytes.TrimSpace(b)
	bad := func(c rune) bool { return c <= ' ' || c >= 0x7f }
	if len(b) < minTokenBytes || len(b) > maxTokenBytes || bytes.ContainsFunc(b, bad) {
		return "", &failure{exitUsage, fmt.Errorf("%q is not a token: one line of %d to %d printable characters", path, minTokenBytes, maxTokenBytes),
			fmt.Sprintf("make one: head -c 32 /dev/urandom | base64 >%q", path)}
	}
	return string(b), nil
}
