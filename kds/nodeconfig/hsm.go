package nodeconfig

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"regexp"
)

const (
	// maxTokenBytes is the longest label of a token: PKCS #11 pads them to it.
	maxTokenBytes = 32
	// maxLabelBytes is the longest label of a key.
	maxLabelBytes = 128
)

// AzureHSM says which key of Azure wraps the master keys, and who attests for
// the node. It is measured because whoever chooses these chooses the master keys.
//
//	azure_hsm {
//	  name        = "production"
//	  vault       = "https://example.managedhsm.azure.net"
//	  key         = "coffer"
//	  attestation = "https://example.weu.attest.azure.net"
//	}
type AzureHSM struct {
	Name        string
	Vault       string // https://HOST, or with a port
	Key         string
	Attestation string // as Vault
	// Roots are the certificate authorities that vouch for them. Nil: those of
	// the system, which in an enclave are measured with it.
	Roots *x509.CertPool
}

// PKCS11 says which key of which token wraps the master keys.
//
//	pkcs11 {
//	  name  = "production"
//	  token = "label of the token"
//	  key   = "label of the key"
//	}
type PKCS11 struct {
	Name, Token, Key string
}

// The forms of the blocks.
type (
	azureFile struct {
		Name        string  `hcl:"name"`
		Vault       string  `hcl:"vault"`
		Key         string  `hcl:"key"`
		Attestation string  `hcl:"attestation"`
		Roots       *string `hcl:"roots"`
	}
	pkcs11File struct {
		Name  string `hcl:"name"`
		Token string `hcl:"token"`
		Key   string `hcl:"key"`
	}
)

// azureKeyForm is what Azure calls a key's name.
var azureKeyForm = regexp.MustCompile(`^[0-9a-zA-Z-]{1,127}$`)

// hsm reads the block of an HSM, if there is one.
func (c *Config) hsm(f file) error {
	given := 0
	for _, is := range []bool{f.Cluster != nil, f.AzureHSM != nil, f.PKCS11 != nil} {
		if is {
			given++
		}
	}
	if given > 1 {
		return errors.New("a node has one of cluster, azure_hsm and pkcs11")
	}
	var err error
	if f.AzureHSM != nil {
		if c.AzureHSM, err = f.AzureHSM.read(); err != nil {
			return fmt.Errorf("azure_hsm: %w", err)
		}
	}
	if f.PKCS11 != nil {
		if c.PKCS11, err = f.PKCS11.read(); err != nil {
			return fmt.Errorf("pkcs11: %w", err)
		}
	}
	return nil
}

func (f azureFile) read() (*AzureHSM, error) {
	a := &AzureHSM{Name: f.Name, Vault: f.Vault, Key: f.Key, Attestation: f.Attestation}
	if err := checkName(f.Name); err != nil {
		return nil, err
	}
	if err := checkURL(f.Vault); err != nil {
		return nil, fmt.Errorf("vault: %w", err)
	}
	if err := checkURL(f.Attestation); err != nil {
		return nil, fmt.Errorf("attestation: %w", err)
	}
	if !azureKeyForm.MatchString(f.Key) {
		return nil, fmt.Errorf("key %q: it has 1 to 127 letters, digits and '-'", f.Key)
	}
	if f.Roots != nil {
		a.Roots = x509.NewCertPool()
		if !a.Roots.AppendCertsFromPEM([]byte(*f.Roots)) {
			return nil, errors.New("roots: no certificate in PEM")
		}
	}
	return a, nil
}

func (f pkcs11File) read() (*PKCS11, error) {
	if err := checkName(f.Name); err != nil {
		return nil, err
	}
	if f.Token == "" || len(f.Token) > maxTokenBytes {
		return nil, fmt.Errorf("token: a label has 1 to %d bytes", maxTokenBytes)
	}
	if f.Key == "" || len(f.Key) > maxLabelBytes {
		return nil, fmt.Errorf("key: a label has 1 to %d bytes", maxLabelBytes)
	}
	return &PKCS11{f.Name, f.Token, f.Key}, nil
}

func checkName(name string) error {
	if !nameForm.MatchString(name) {
		return fmt.Errorf("name %q: it has 1 to 63 small letters, digits and '-'", name)
	}
	return nil
}

// checkURL takes https://HOST and https://HOST:PORT, in the one form that is
// compared byte by byte.
func checkURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || text != "https://"+u.Host {
		return fmt.Errorf("%q is not https://HOST or https://HOST:PORT", text)
	}
	return nil
}
