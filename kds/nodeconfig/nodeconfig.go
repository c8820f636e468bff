// Package nodeconfig reads the configuration that is measured with a KDS node.
//
//	operators = ["4f1c..."]
//	cluster {
//	  name      = "production"
//	  threshold = 3
//	  custodian "alice" { key = "AWf3..." }
//	  ...
//	}
//
// or, for master keys that an HSM wraps, azure_hsm or pkcs11 in place of cluster
// (hsm.go).
//
// It promises that a configuration that loads is whole: keys are keys, names
// are names, and the threshold can be reached. It refuses unknown names. Raw is
// what is measured: a changed byte is another enclave.
//
// Imported by kds/cluster and cmd/coffer-kds. Imports kds and kds/attest.
package nodeconfig

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/gohcl"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/attest"
)

// Limits of a configuration.
const (
	// MaxBytes is the largest configuration that is read.
	MaxBytes = 128 << 10
	// MaxOperators is how many operator keys there may be.
	MaxOperators = 16
	// MaxCustodians is how many custodians there may be.
	MaxCustodians = 16
)

// MeasuredFile is where an enclave's configuration is embedded: the only place
// from which an enclave takes one. The file system of an EGo enclave is memory but
// for what enclave.json mounts, and that and its files are measured.
const MeasuredFile = "/etc/coffer/node.hcl"

// ErrConfig: the configuration of a node is not one.
var ErrConfig = errors.New("invalid node configuration")

// Config is a measured configuration.
type Config struct {
	// Operators may change what all nodes do: a signature of any of them will do.
	Operators []ed25519.PublicKey
	// Cluster is the cluster that the node is of. Nil if there is none.
	Cluster *Cluster
	// AzureHSM and PKCS11 say where the key is that wraps the master keys. Nil
	// if there is none.
	AzureHSM *AzureHSM
	PKCS11   *PKCS11

	raw []byte
}

// Raw is the configuration as it was read: what is measured.
func (c *Config) Raw() []byte { return bytes.Clone(c.raw) }

// Operator reports whether k is the key of an operator.
func (c *Config) Operator(k ed25519.PublicKey) bool {
	for _, o := range c.Operators {
		if o.Equal(k) {
			return true
		}
	}
	return false
}

// Cluster is the cluster block.
type Cluster struct {
	Name  string
	Peers Peers
	// Threshold is how many custodians bring the master key back, and
	// Custodians are all of them; 0 and none: nobody can.
	Threshold  int
	Custodians []Custodian
}

// Peers says which enclaves may be nodes of the cluster, beside the node's own
// build.
type Peers struct {
	// SameSigner also admits other builds of the same signer and product whose
	// security version is not lower. Default: the same code only.
	SameSigner bool
	// Level is the lowest that a node's platform may have. Default STALE. A
	// simulated node has simulated peers, whatever it says.
	Level attest.Level
}

// Custodian holds a share of each master key.
type Custodian struct {
	Name string
	Key  []byte // an X-Wing public key
}

// file is the configuration's form.
type file struct {
	Operators []string `hcl:"operators,optional"`
	Cluster   *struct {
		Name       string  `hcl:"name"`
		Peers      *string `hcl:"peers"`
		Security   *string `hcl:"security"`
		Threshold  int     `hcl:"threshold,optional"`
		Custodians []struct {
			Name string `hcl:"name,label"`
			Key  string `hcl:"key"`
		} `hcl:"custodian,block"`
	} `hcl:"cluster,block"`
	AzureHSM *azureFile  `hcl:"azure_hsm,block"`
	PKCS11   *pkcs11File `hcl:"pkcs11,block"`
}

// Load reads the configuration in path.
func Load(path string) (*Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("load node configuration: %w", err)
	}
	defer f.Close()
	src, err := io.ReadAll(io.LimitReader(f, MaxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("load node configuration: %w", err)
	}
	return Parse(path, src)
}

// Parse reads a configuration; name is for messages.
func Parse(name string, src []byte) (*Config, error) {
	if len(src) > MaxBytes {
		return nil, fmt.Errorf("%w: larger than %d bytes", ErrConfig, MaxBytes)
	}
	var f file
	if err := decode(name+".hcl", src, &f); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	c := &Config{raw: bytes.Clone(src)}
	if err := errors.Join(c.operators(f), c.cluster(f), c.hsm(f)); err != nil {
		return nil, fmt.Errorf("%w: %q: %w", ErrConfig, name, err)
	}
	return c, nil
}

// decode reads values without variables, functions and loops, which a short text could
// make endless.
func decode(name string, src []byte, to *file) error {
	f, diags := hclsyntax.ParseConfig(src, name, hcl.InitialPos)
	if diags.HasErrors() {
		return diags
	}
	loops := hclsyntax.VisitAll(f.Body.(*hclsyntax.Body), func(n hclsyntax.Node) hcl.Diagnostics {
		if loop, is := n.(*hclsyntax.ForExpr); is {
			return hcl.Diagnostics{{Severity: hcl.DiagError, Summary: "Not a plain value", Detail: "there are no loops here", Subject: loop.Range().Ptr()}}
		}
		return nil
	})
	if loops.HasErrors() {
		return loops
	}
	if diags := gohcl.DecodeBody(f.Body, nil, to); diags.HasErrors() {
		return diags
	}
	return nil
}

func (c *Config) operators(f file) error {
	hsm := f.Cluster == nil && (f.AzureHSM != nil || f.PKCS11 != nil)
	if len(f.Operators) == 0 && !hsm || len(f.Operators) > MaxOperators {
		return fmt.Errorf("operators: there are 1 to %d", MaxOperators)
	}
	for i, text := range f.Operators {
		k, err := hex.DecodeString(text)
		if err != nil || len(k) != ed25519.PublicKeySize {
			return fmt.Errorf("operators: number %d is not an Ed25519 public key of %d hexadecimal digits", i+1, 2*ed25519.PublicKeySize)
		}
		c.Operators = append(c.Operators, k)
	}
	return nil
}

var nameForm = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

func (c *Config) cluster(f file) error {
	if f.Cluster == nil {
		return nil
	}
	k := &Cluster{Name: f.Cluster.Name, Threshold: f.Cluster.Threshold}
	if !nameForm.MatchString(k.Name) {
		return fmt.Errorf("cluster: name %q: it has 1 to 63 small letters, digits and '-'", k.Name)
	}
	if err := k.Peers.read(f.Cluster.Peers, f.Cluster.Security); err != nil {
		return fmt.Errorf("cluster: %w", err)
	}
	seen := map[string]bool{}
	for _, one := range f.Cluster.Custodians {
		public, err := base64.StdEncoding.DecodeString(one.Key)
		if err == nil {
			_, err = kds.ParsePublicKey(public)
		}
		switch {
		case !nameForm.MatchString(one.Name) || seen[one.Name]:
			return fmt.Errorf("cluster: custodian %q: a name is given once, and has 1 to 63 small letters, digits and '-'", one.Name)
		case err != nil:
			return fmt.Errorf("cluster: custodian %q: key: %w", one.Name, err)
		}
		seen[one.Name] = true
		k.Custodians = append(k.Custodians, Custodian{one.Name, public})
	}
	if n := len(k.Custodians); n > MaxCustodians || k.Threshold < 0 || k.Threshold > n || (k.Threshold == 0) != (n == 0) {
		return fmt.Errorf("cluster: a threshold of %d with %d custodians: it is from 1 to as many as there are, and they are at most %d", k.Threshold, n, MaxCustodians)
	}
	c.Cluster = k
	return nil
}

func (p *Peers) read(who, security *string) error {
	if who != nil {
		switch *who {
		case "code":
		case "signer":
			p.SameSigner = true
		default:
			return fmt.Errorf("peers %q: it is \"code\" or \"signer\"", *who)
		}
	}
	p.Level = attest.Stale
	if security != nil {
		level, err := attest.ParseLevel(*security)
		if err != nil {
			return fmt.Errorf("security: %w", err)
		}
		if level == attest.Insecure {
			return errors.New("security: a node that is INSECURE gets no master key: it is STALE or SECURE")
		}
		p.Level = level
	}
	return nil
}
