package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/coffer-fs/coffer/config"
	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/s3"
	"github.com/coffer-fs/coffer/store/host/serve"
)

func newHost() *cobra.Command {
	c := &cobra.Command{
		Use:   "host",
		Short: "Keep volumes for enclaves, in a process of its own",
		Args:  cobra.NoArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newHostServe())
	return c
}

// hostServeFlags are the flags of host serve.
type hostServeFlags struct {
	root, listen      string
	quota             string
	maxVolumes        int
	tokenFile         string
	pullTokenFile     string
	certFile, keyFile string
	logLevel          string
	s3                s3Flags
}

const (
	// defaultMaxVolumes is how many volumes a root may have when one is made.
	defaultMaxVolumes = 64
	// stopTimeout bounds the wait for requests under way when a server ends.
	stopTimeout = 20 * time.Second
)

func newHostServe() *cobra.Command {
	var f hostServeFlags
	c := &cobra.Command{
		Use:   "serve --root DIR --listen unix:PATH|tcp:ADDRESS",
		Short: "Serve the volumes in a directory, until SIGTERM or SIGINT",
		Long: `serve keeps the volumes in DIR for enclaves in other processes: it is the
untrusted side, and has no keys. When it is ready it prints one line, where it
listens. An enclave names a volume by

  unix:PATH#NAME                a Unix socket
  http://127.0.0.1:PORT/NAME    TCP of this machine
  https://HOST:PORT/NAME        TCP with TLS, from anywhere

The volume is the directory DIR/NAME. With --root s3://BUCKET/PREFIX it is in an
object store, at s3://BUCKET/PREFIX/NAME: the enclave needs no credentials then, and
sends nothing but sealed bytes to a process of its own machine. A socket belongs to the user who serves.
On TCP other than loopback there must be TLS and a token.

It may be killed and started anew at any moment: its clients wait, and go on.`,
		Args: args(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error { return f.serve(c) },
	}
	f.s3.register(c)
	c.Flags().StringVar(&f.root, "root", "", "directory of the volumes, or s3://BUCKET/PREFIX (required)")
	c.Flags().StringVar(&f.listen, "listen", "", "unix:PATH or tcp:ADDRESS:PORT; port 0 takes any that is free (required)")
	c.Flags().StringVar(&f.quota, "quota", "", "how large the segments of a volume may be together, with k, m, g or t; default: the disk")
	c.Flags().IntVar(&f.maxVolumes, "max-volumes", defaultMaxVolumes, "how many volumes there may be when a client makes one")
	c.Flags().StringVar(&f.tokenFile, "token-file", "", "file with the token that clients must show")
	c.Flags().StringVar(&f.pullTokenFile, "pull-token-file", "", "file with a token that lets its bearer read volumes and points (coffer pull), and change nothing")
	c.Flags().StringVar(&f.certFile, "tls.cert-file", "", "certificate for TLS")
	c.Flags().StringVar(&f.keyFile, "tls.key-file", "", "its private key")
	c.Flags().StringVar(&f.logLevel, "log", "warn", "what is logged to standard error: debug, info, warn or error")
	return c
}

// serve runs the host process.
//
//  1. flags, files
//  2. listen, say so
//  3. serve until a signal, then give the volumes back
func (f hostServeFlags) serve(c *cobra.Command) (err error) {
	o, err := f.options()
	if err != nil {
		return err
	}
	l, err := f.listener(len(o.Token) > 0)
	if err != nil {
		return err
	}
	b, closeBackend, err := f.backend(o.Logger)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	defer func() { err = errors.Join(err, closeBackend()) }()
	s := serve.New(b, o)
	if _, err := fmt.Fprintln(c.OutOrStdout(), "listening on "+f.address(l)); err != nil {
		return errors.Join(err, l.Close())
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	select {
	case err = <-ended:
	case <-c.Context().Done():
	}
	stop, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	return errors.Join(err, s.Shutdown(stop))
}

// backend is where the volumes are.
func (f hostServeFlags) backend(logger *slog.Logger) (b serve.Backend, closeIt func() error, err error) {
	if !s3.IsURL(f.root) {
		return &serve.Dir{Root: f.root, MaxVolumes: f.maxVolumes}, func() error { return nil }, nil
	}
	root := strings.TrimRight(f.root, "/")
	o, err := f.s3.options(root)
	o.Logger = logger
	bucket := &serve.Bucket{URL: root, Options: o, MayCreate: f.maxVolumes > 0}
	return bucket, bucket.Close, err
}

// options are those of the server, from flags and files.
func (f hostServeFlags) options() (o serve.Options, err error) {
	switch {
	case f.root == "":
		return o, usageError("COMMAND --root DIR", "--root is required")
	case f.listen == "":
		return o, usageError("COMMAND --listen unix:PATH", "--listen is required")
	case (f.certFile == "") != (f.keyFile == ""):
		return o, usageError("give both, or none", "--tls.cert-file and --tls.key-file belong together")
	case f.maxVolumes < 0:
		return o, usageError("0 lets clients make none", "--max-volumes is %d", f.maxVolumes)
	}
	if o.Logger, err = newLogger(f.logLevel); err != nil {
		return o, err
	}
	if f.quota != "" {
		if o.Quota, err = config.ParseSize(f.quota); err == nil && o.Quota == 0 {
			err = errors.New("it is 0")
		}
		if err != nil {
			return o, usageError("an example: --quota 10g", "--quota: %w", err)
		}
	}
	if f.tokenFile != "" {
		if o.Token, err = readToken(f.tokenFile); err != nil {
			return o, err
		}
	}
	if f.pullTokenFile != "" {
		if o.PullToken, err = readToken(f.pullTokenFile); err != nil {
			return o, err
		}
		if bytes.Equal(o.PullToken, o.Token) {
			return o, usageError("make another one", "--pull-token-file has the token of --token-file, which may do everything")
		}
	}
	if s3.IsURL(f.root) {
		return o, nil
	}
	if info, err := os.Stat(f.root); err != nil {
		return o, err
	} else if !info.IsDir() {
		return o, usageError("it is where the volumes are", "--root %q is not a directory", f.root)
	}
	return o, nil
}

// listener opens what --listen names, if it is allowed.
func (f hostServeFlags) listener(token bool) (net.Listener, error) {
	network, address, _ := strings.Cut(f.listen, ":")
	switch {
	case network == "unix" && address != "" && f.certFile == "":
		return listenUnix(address)
	case network == "unix" && address != "":
		return nil, usageError("leave it out", "TLS is for tcp, not for unix sockets")
	case network != "tcp":
		return nil, usageError("unix:PATH or tcp:ADDRESS:PORT", "--listen %q is neither", f.listen)
	}
	at, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		return nil, usageError("an example: --listen tcp:127.0.0.1:8480", "--listen: %w", err)
	}
	if !at.IP.IsLoopback() && (f.certFile == "" || !token) {
		return nil, usageError("give --tls.cert-file, --tls.key-file and --token-file, or listen on 127.0.0.1",
			"--listen %q can be reached by other machines", f.listen)
	}
	l, err := net.ListenTCP("tcp", at)
	if err != nil || f.certFile == "" {
		return l, err
	}
	cert, err := tls.LoadX509KeyPair(f.certFile, f.keyFile)
	if err != nil {
		return nil, errors.Join(usageError("both are files in PEM", "TLS: %w", err), l.Close())
	}
	return serve.TLS(l, cert), nil
}

// listenUnix makes a socket that belongs to this user alone. One that a killed
// process left is replaced, and one that is in use is not.
func listenUnix(path string) (net.Listener, error) {
	if listens(path) {
		return nil, &failure{exitInUse, fmt.Errorf("%q: somebody listens there: %w", path, host.ErrInUse), "stop it, or choose another path"}
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

// listens reports whether somebody listens at a socket. Who has just been killed
// may not be quite gone.
func listens(path string) bool {
	for end := time.Now().Add(busyFor); ; time.Sleep(busyPoll) {
		c, err := net.Dial("unix", path)
		if err != nil {
			return errors.Is(err, unix.EACCES)
		}
		c.Close()
		if time.Now().After(end) {
			return true
		}
	}
}

// address is where l listens, in the words of an enclave.
func (f hostServeFlags) address(l net.Listener) string {
	switch {
	case l.Addr().Network() == "unix":
		path := l.Addr().String()
		if a, err := filepath.Abs(path); err == nil {
			path = a
		}
		return "unix:" + path
	case f.certFile != "":
		return "https://" + l.Addr().String()
	}
	return "http://" + l.Addr().String()
}
