package audit

import (
	"context"
	"crypto/ed25519"
	"crypto/sha512"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/internal/secretfile"
	"github.com/coffer-fs/coffer/key"
)

const (
	// KeyFile is where a node keeps what its platform needs to give it its
	// audit key again. It is public.
	KeyFile = "audit.key"

	keyLabel     = "coffer/kds/v1/audit key"
	keyDataLabel = "coffer/kds/v1/audit key evidence"
)

// SigningKey is the key that a node signs its audit log with: its platform gives it
// to this code on this machine and to nobody else, after a restart too. If the
// file in dir is lost or changed, it is another key, and the log says so.
func SigningKey(p attest.Platform, dir string) (ed25519.PrivateKey, error) {
	path := filepath.Join(dir, KeyFile)
	info, err := secretfile.ReadBounded(path, attest.MaxKeyInfoSize)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, errors.Join(fmt.Errorf("open audit key: %q cannot be read", path), err)
	}
	k, made, err := p.SealKey(attest.SealToCode, info)
	if err != nil {
		return nil, fmt.Errorf("open audit key: %w", err)
	}
	defer k.Destroy()
	if len(info) == 0 {
		if err := secretfile.Replace(path, made); err != nil {
			return nil, fmt.Errorf("keep audit key: %w", err)
		}
	}
	seed := k.Derive(nil, keyLabel)
	defer seed.Destroy()
	return ed25519.NewKeyFromSeed(seed.Bytes()), nil
}

// KeyData is the report data of evidence over an audit key.
func KeyData(k ed25519.PublicKey) attest.ReportData {
	return sha512.Sum512(key.Info(keyDataLabel, k))
}

// Shown is the answer of a node that shows how far its log is: the head as it
// stands in the log, and evidence over the key that signed it.
type Shown struct {
	Head     json.RawMessage `json:"head"`
	Evidence attest.Evidence `json:"evidence"`
}

// Trusted reads a head that a node showed, if the evidence is right and of whom
// trusted accepts.
func (s Shown) Trusted(ctx context.Context, v attest.Verifier, trusted func(attest.Identity) error) (SignedHead, attest.Identity, error) {
	h, err := ParseHead(s.Head)
	if err != nil {
		return h, attest.Identity{}, err
	}
	r, err := v.Verify(ctx, s.Evidence)
	switch {
	case err != nil:
		return h, r.Identity, err
	case r.ReportData != KeyData(h.Key):
		return h, r.Identity, fmt.Errorf("%w: it is not for the key of the audit log", attest.ErrEvidence)
	}
	return h, r.Identity, trusted(r.Identity)
}
