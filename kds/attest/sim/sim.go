// Package sim is a software CPU: enclaves for a laptop, and for nobody's
// secrets.
//
// A CPU is a directory with one file that holds a signing key and a seal
// secret. An enclave is started on it with a code hash, a signer, a product and
// a revocation level that the user names; nothing is measured by anybody but
// the program itself.
//
// It promises the behaviour of a real platform, so that everything else can be
// tried: another CPU gives other seal keys, another code hash or signer is
// another enclave. It promises no protection whatever, and says so: evidence of
// this package carries the CPU's own public key, anybody can make it, and its
// verifier therefore knows one mode, simulation, and one level, INSECURE.
//
// Imported by kds/attest/platform and by tests.
package sim

import (
	"crypto/ed25519"
	"crypto/rand"
	"os"
	"path/filepath"

	"github.com/coffer-fs/coffer/kds/internal/secretfile"
	"github.com/coffer-fs/coffer/key"
)

const (
	cpuFile  = "cpu"
	cpuTitle = "coffer simulated CPU, version 1: protects nothing"
	sealSize = key.Size
)

// CPU is a simulated processor.
type CPU struct {
	signing ed25519.PrivateKey
	seal    key.Key
}

// NewCPU opens the CPU in dir, and makes it and the directory if there is none.
func NewCPU(dir string) (*CPU, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	secret, err := secretfile.LoadOrCreate(filepath.Join(dir, cpuFile), cpuTitle, ed25519.SeedSize+sealSize, func() []byte {
		fresh := make([]byte, ed25519.SeedSize+sealSize)
		rand.Read(fresh)
		return fresh
	})
	if err != nil {
		return nil, err
	}
	seal, err := key.FromBytes(secret[ed25519.SeedSize:])
	if err != nil {
		return nil, err
	}
	return &CPU{signing: ed25519.NewKeyFromSeed(secret[:ed25519.SeedSize]), seal: seal}, nil
}
