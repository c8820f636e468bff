package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/audit"
	"github.com/coffer-fs/coffer/kds/audit/bolt"
	"github.com/coffer-fs/coffer/kds/audit/remote"
)

const auditFile = "audit.db"

// auditFlags are the flags of serve that say where the audit log is kept.
type auditFlags struct {
	at, tokenFile string
}

func (f *auditFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.at, "audit", "", "who keeps the audit log, \"coffer-kds audit keep\": unix:PATH or http://127.0.0.1:PORT; default, and not in a release enclave, this process, in --data")
	c.Flags().StringVar(&f.tokenFile, "audit.token-file", "", "file with the token that it wants")
}

// open goes on with the audit log, as the enclave p. A release enclave does not map
// a file that its host can change under it: its log is kept by another process.
func (f *auditFlags) open(ctx context.Context, p attest.Platform, dir string) (*audit.Log, func(), error) {
	store, closeStore, err := f.store(p.Mode(), dir)
	if err != nil {
		return nil, nil, err
	}
	log, err := openLog(ctx, store, p, dir)
	if err != nil {
		closeStore()
		hint := ""
		if errors.Is(err, audit.ErrDamaged) {
			hint = "move all files of the audit log away after looking into them; the node begins a new one"
		}
		return nil, nil, &failure{exitAudit, err, hint}
	}
	return log, func() { _ = log.Close(); closeStore() }, nil
}

func openLog(ctx context.Context, s audit.Store, p attest.Platform, dir string) (*audit.Log, error) {
	k, err := audit.SigningKey(p, dir)
	if err != nil {
		return nil, err
	}
	return audit.Open(ctx, s, k, nil)
}

func (f *auditFlags) store(m attest.Mode, dir string) (audit.Store, func(), error) {
	if f.at != "" {
		token, err := readToken(f.tokenFile)
		if err != nil {
			return nil, nil, err
		}
		s, err := remote.Dial(f.at, token)
		if err != nil {
			return nil, nil, &failure{exitUsage, fmt.Errorf("--audit: %w", err), "an example: --audit unix:/run/coffer/audit"}
		}
		return s, func() {}, nil
	}
	if m == attest.Release {
		return nil, nil, &failure{exitUsage, errors.New("a release enclave does not keep its own audit log"), "run \"coffer-kds audit keep\" on the host, and give its address with --audit"}
	}
	s, err := bolt.Open(filepath.Join(dir, auditFile), bolt.Options{})
	if err != nil {
		return nil, nil, badStore(err, "another node runs with this directory: stop it, or use another --data")
	}
	return s, func() { _ = s.Close() }, nil
}

// badStore is the failure of a file of the audit log.
func badStore(err error, inUse string) error {
	hint := ""
	switch {
	case errors.Is(err, audit.ErrInUse):
		hint = inUse
	case errors.Is(err, audit.ErrDamaged):
		hint = "move all files of the audit log away after looking into them; the node begins a new one"
	}
	return &failure{exitAudit, err, hint}
}
