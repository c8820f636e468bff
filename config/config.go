// Package config reads the configuration that is measured with an enclave.
//
// It is HCL, so that the block people know from their build files works as it
// is:
//
//	persistentFileSystemSize = "64m"
//	kds {
//	  kdsEnclaveConstraint = "S:B4CD... PROD:1 SEC:STALE"
//	  persistenceKeySpec {
//	    masterKeyType = "development"
//	    policyConstraint {
//	      constraint                   = "SEC:STALE"
//	      useOwnCodeSignerAndProductID = true
//	    }
//	  }
//	}
//
// It promises that a configuration that loads is whole: sizes are within their
// limits, constraints parse, and what the enclave adds to its policy at run time
// is all that is missing. It refuses unknown and misspelt names, and names the
// right one. It does not choose between release and debug: that is the
// platform's to say.
//
// Raw is what is measured: a changed byte, a comment's too, is another enclave.
//
// Imported by package coffer and the commands. Imports kds, kds/policy and
// kds/attest.
package config

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"os"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/policy"
)

// MaxBytes is the largest configuration that is read.
const MaxBytes = 64 << 10

// Config is a measured configuration.
type Config struct {
	// PersistentFileSystemSize is the limit of the volume in bytes. 0 is off.
	PersistentFileSystemSize int64
	// InMemoryFileSystemSize is the limit of the volume in memory in bytes,
	// DefaultInMemoryFileSystemSize if it is not given. 0 is off.
	InMemoryFileSystemSize int64
	// KDS says which KDS is trusted and for what. Nil if there is none.
	KDS *KDS
	// Anchor says where it is remembered how far the volume has come. Nil if
	// that is not said: nowhere.
	Anchor *Anchor
	// Upgrade says who may let a volume be handed over. Nil if nobody.
	Upgrade *Upgrade

	raw []byte
}

// KDS is the kds block.
type KDS struct {
	// EnclaveConstraint says which KDS enclaves are trusted.
	EnclaveConstraint policy.Constraint
	// PersistenceKeySpec says which key volumes are sealed with. Nil if the
	// machine's own key does.
	PersistenceKeySpec *KeySpec
}

// KeySpec is the persistenceKeySpec block: a spec that the enclave completes
// with its own values.
type KeySpec struct {
	MasterKeyType kds.MasterKeyType
	Constraint    string // a template
	Own           policy.Own
}

// Load reads the configuration in path. The warnings are for a person.
func Load(path string) (c *Config, warnings []string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, fmt.Errorf("load configuration: %w", err)
	}
	defer f.Close()
	src, err := io.ReadAll(io.LimitReader(f, MaxBytes+1))
	if err != nil {
		return nil, nil, fmt.Errorf("load configuration: %w", err)
	}
	return Parse(path, src)
}

// Raw is the configuration as it was read, a copy: what is measured.
func (c *Config) Raw() []byte { return bytes.Clone(c.raw) }

// Hash is SHA-256 over Raw.
func (c *Config) Hash() [sha256.Size]byte { return sha256.Sum256(c.raw) }

// PersistenceKeySpec is the spec that volumes are sealed with, nil if the
// configuration has none.
func (c *Config) PersistenceKeySpec() *KeySpec {
	if c.KDS == nil {
		return nil
	}
	return c.KDS.PersistenceKeySpec
}

// For is the spec for one enclave: with its own code hash or signer and
// product in the policy, where the configuration asks for them.
func (s *KeySpec) For(self attest.Identity) (kds.Spec, error) {
	p, err := policy.Expand(s.Constraint, s.Own, self)
	if err != nil {
		return kds.Spec{}, fmt.Errorf("persistenceKeySpec: %w", err)
	}
	spec := kds.Spec{Name: kds.EnclavePersistence, MasterKeyType: s.MasterKeyType, PolicyConstraint: p}
	return spec, spec.Check()
}

// Mount is a filesystem that the enclave sees.
type Mount struct {
	Path       string
	Persistent bool // else in memory
	LimitBytes int64
}

// Mounts says what is seen where: the persistent filesystem at /, the one in
// memory at /tmp, and if only one is on, it at /.
func (c *Config) Mounts() []Mount {
	var m []Mount
	if c.PersistentFileSystemSize > 0 {
		m = append(m, Mount{"/", true, c.PersistentFileSystemSize})
	}
	if c.InMemoryFileSystemSize > 0 {
		m = append(m, Mount{"/tmp", false, c.InMemoryFileSystemSize})
	}
	if len(m) == 1 {
		m[0].Path = "/"
	}
	return m
}
