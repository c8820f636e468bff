package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/local"
	"github.com/coffer-fs/coffer/store/host/remote"
	"github.com/coffer-fs/coffer/store/host/s3"
)

// hostFlags say how to reach a volume. A VOLUME is the address of one that a host
// process serves, or that is in an object store, or else a directory.
type hostFlags struct {
	tokenFile, caFile, pin string
	s3                     s3Flags
}

func (f *hostFlags) register(c *cobra.Command) {
	c.Flags().StringVar(&f.tokenFile, "host.token-file", "", "file with the token that the host process of the volume wants")
	c.Flags().StringVar(&f.caFile, "host.ca-file", "", "certificates that vouch for it, instead of the machine's own")
	c.Flags().StringVar(&f.pin, "host.pin", "", "SHA-256 of the one certificate that it may have, as openssl x509 -fingerprint -sha256 shows it")
	c.MarkFlagsMutuallyExclusive("host.ca-file", "host.pin")
	f.s3.register(c)
}

// isURL reports whether a volume is named by an address, and not by a directory.
func isURL(volume string) bool { return remote.IsURL(volume) || s3.IsURL(volume) }

// open opens a volume.
func (f hostFlags) open(ctx context.Context, volume string) (host.Volume, error) {
	switch {
	case s3.IsURL(volume):
		return f.s3.open(ctx, volume)
	case !remote.IsURL(volume):
		return local.Open(volume)
	}
	o, err := f.options()
	if err != nil {
		return nil, err
	}
	return remote.Open(ctx, volume, o)
}

func (f hostFlags) options() (o remote.Options, err error) {
	if f.tokenFile != "" {
		if o.Token, err = readToken(f.tokenFile); err != nil {
			return o, err
		}
	}
	if f.caFile != "" {
		roots, err := readCertificates(f.caFile)
		if err != nil {
			return o, err
		}
		o.TLS = &tls.Config{RootCAs: roots}
	}
	if f.pin != "" {
		if o.TLS, err = pinned(f.pin); err != nil {
			return o, err
		}
	}
	return o, nil
}

// readCertificates reads who may vouch for a server.
func readCertificates(path string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, usageError("it is a file in PEM", "%q has no certificate", path)
	}
	return roots, nil
}

// pinned trusts one certificate, and whatever it says: who has its key is meant. It is
// looked at in every connection, resumed ones too.
func pinned(text string) (*tls.Config, error) {
	_, hexes, ok := strings.Cut(text, "=") // sha256 Fingerprint=AA:BB:...
	if !ok {
		hexes = strings.TrimPrefix(text, "sha256:")
	}
	want, err := hex.DecodeString(strings.ReplaceAll(strings.ToLower(hexes), ":", ""))
	if err != nil || len(want) != sha256.Size {
		return nil, usageError("openssl x509 -in CERT -noout -fingerprint -sha256 shows it", "--host.pin %q is not SHA-256 of a certificate", text)
	}
	return &tls.Config{
		InsecureSkipVerify: true, // VerifyConnection does it
		VerifyConnection: func(s tls.ConnectionState) error {
			got := sha256.Sum256(s.PeerCertificates[0].Raw)
			if subtle.ConstantTimeCompare(got[:], want) != 1 {
				return fmt.Errorf("the host process has a certificate of SHA-256 %x, not the one of --host.pin", got)
			}
			return nil
		},
	}, nil
}

const (
	minTokenBytes = 16
	maxTokenBytes = 1 << 10
)

// readToken reads a token: one line of printable characters.
func readToken(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, maxTokenBytes+1))
	if err != nil {
		return nil, err
	}
	b = bytes.TrimSpace(b)
	bad := len(b) < minTokenBytes || len(b) > maxTokenBytes
	for _, c := range b {
		bad = bad || c <= ' ' || c >= 0x7f
	}
	if bad {
		return nil, usageError("make one: head -c 32 /dev/urandom | base64 >"+quote(path),
			"%q is not a token: one line of %d to %d printable characters", path, minTokenBytes, maxTokenBytes)
	}
	return b, nil
}

// absVolume names a volume so that it means the same in every directory.
func absVolume(volume string) string {
	if !isURL(volume) {
		return abs(volume)
	}
	return remote.AbsURL(volume)
}

// holder says who holds a volume; nil if nobody does. Of one that a host process
// serves it is that process's word.
func (f hostFlags) holder(ctx context.Context, volume string) (h *holder, err error) {
	switch {
	case s3.IsURL(volume):
		return f.s3.holder(ctx, volume)
	case !remote.IsURL(volume):
		return holderOf(volume)
	}
	v, err := f.open(ctx, volume)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, v.Close()) }()
	st, err := v.(*remote.Volume).Status(ctx)
	if err != nil || !st.Held {
		return nil, err
	}
	return &holder{What: st.Owner}, nil
}

// makePlace makes the place for a volume. undo removes it, as far as that may
// be: a host process removes nothing, but a volume that was not finished can be
// made again.
func (f hostFlags) makePlace(ctx context.Context, volume string) (undo func() error, err error) {
	if s3.IsURL(volume) {
		return func() error { return nil }, f.s3.makeVolume(ctx, volume)
	}
	if !remote.IsURL(volume) {
		_, statErr := os.Lstat(volume)
		return func() error { return clearVolume(volume, statErr == nil) }, local.Create(volume)
	}
	o, err := f.options()
	if err != nil {
		return nil, err
	}
	err = remote.Create(ctx, volume, o)
	if errors.Is(err, host.ErrExists) {
		err = nil // perhaps it is empty: whoever fills it finds out
	}
	return func() error { return nil }, err
}

// clearVolume removes what was made of a volume, but not a directory that was
// there before.
func clearVolume(volume string, keep bool) error {
	if !keep {
		return os.RemoveAll(volume)
	}
	es, err := os.ReadDir(volume)
	for _, e := range es {
		err = errors.Join(err, os.RemoveAll(filepath.Join(volume, e.Name())))
	}
	return err
}

func (h holder) String() string {
	if h.PID == 0 {
		return fmt.Sprintf("%q", h.What)
	}
	return fmt.Sprintf("process %d (%q)", h.PID, h.What)
}
