package nodeconfig_test

import (
	"crypto/hpke"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/nodeconfig"
)

var operators = `operators = ["` + strings.Repeat("0a", 32) + `"]` + "\n"

func public(t *testing.T) string {
	t.Helper()
	sk, err := hpke.MLKEM768X25519().GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(sk.PublicKey().Bytes())
}

func TestParse(t *testing.T) {
	text := operators + fmt.Sprintf("cluster {\n name = \"a-1\"\n peers = \"signer\"\n security = \"SECURE\"\n threshold = 1\n custodian \"al\" { key = %q }\n}\n", public(t))
	c, err := nodeconfig.Parse("x", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	k := c.Cluster
	if k.Name != "a-1" || !k.Peers.SameSigner || k.Peers.Level != attest.Secure || k.Threshold != 1 || k.Custodians[0].Name != "al" || string(c.Raw()) != text {
		t.Errorf("%+v", k)
	}
	if c, err := nodeconfig.Parse("x", []byte(operators+"cluster {\n name = \"a\"\n}\n")); err != nil || c.Cluster.Peers.SameSigner || c.Cluster.Peers.Level != attest.Stale {
		t.Errorf("the defaults: %v", err)
	}
}

// Every refusal, with a word of it.
func TestRefusals(t *testing.T) {
	one := fmt.Sprintf("custodian \"al\" { key = %q }\n", public(t))
	for text, want := range map[string]string{
		"":                                   "operators",
		"operators = []":                     "1 to 16",
		`operators = ["00"]`:                 "Ed25519",
		operators + "clusters {}":            "clusters",
		operators + "cluster {}":             "name",
		operators + `cluster { name = "A" }`: "small letters",
		operators + "cluster {\n name = \"a\"\n peers = \"all\"\n}":                                     `"code" or "signer"`,
		operators + "cluster {\n name = \"a\"\n security = \"secure\"\n}":                               "security",
		operators + "cluster {\n name = \"a\"\n security = \"INSECURE\"\n}":                             "gets no master key",
		operators + "cluster {\n name = \"a\"\n threshold = 1\n}":                                       "threshold of 1 with 0",
		operators + "cluster {\n name = \"a\"\n" + one + "}":                                            "threshold of 0 with 1",
		operators + "cluster {\n name = \"a\"\n threshold = 2\n" + one + "}":                            "threshold of 2 with 1",
		operators + "cluster {\n name = \"a\"\n threshold = 1\n" + one + one + "}":                      "given once",
		operators + "cluster {\n name = \"a\"\n threshold = 1\n custodian \"al\" { key = \"AA==\" }\n}": "public key",
		operators + strings.Repeat("#", nodeconfig.MaxBytes):                                            "larger",
	} {
		if _, err := nodeconfig.Parse("x", []byte(text)); !errors.Is(err, nodeconfig.ErrConfig) || !strings.Contains(err.Error(), want) {
			t.Errorf("%.80q: %v, want %q", text, err, want)
		}
	}
}

var (
	azure = "azure_hsm {\n name = \"a\"\n vault = \"https://v.managedhsm.azure.net\"\n key = \"coffer\"\n attestation = \"https://m.attest.azure.net\"\n"
	hsm   = "pkcs11 {\n name = \"a\"\n token = \"t\"\n key = \"k\"\n}\n"
)

func TestHSM(t *testing.T) {
	c, err := nodeconfig.Parse("x", []byte(azure+"}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if a := c.AzureHSM; a.Name != "a" || a.Vault != "https://v.managedhsm.azure.net" || a.Key != "coffer" || a.Attestation != "https://m.attest.azure.net" || a.Roots != nil || c.PKCS11 != nil {
		t.Errorf("%+v", a)
	}
	c, err = nodeconfig.Parse("x", []byte(operators+hsm))
	if err != nil || *c.PKCS11 != (nodeconfig.PKCS11{Name: "a", Token: "t", Key: "k"}) || len(c.Operators) != 1 {
		t.Errorf("%+v, %v", c, err)
	}
	for text, want := range map[string]string{
		azure + "}\n" + hsm: "one of cluster, azure_hsm and pkcs11",
		operators + "cluster {\n name = \"a\"\n}\n" + hsm:                              "one of cluster, azure_hsm and pkcs11",
		"cluster {\n name = \"a\"\n}\n":                                                "operators",
		strings.Replace(azure, "https://v", "http://v", 1) + "}":                       "vault",
		strings.Replace(azure, "azure.net\"\n key", "azure.net/keys\"\n key", 1) + "}": "vault",
		strings.Replace(azure, "https://v", "https://u@v", 1) + "}":                    "vault",
		strings.Replace(azure, "https://v", "https://v?a", 1) + "}":                    "vault",
		strings.Replace(azure, "https://m", "m", 1) + "}":                              "attestation",
		strings.Replace(azure, "coffer", "cof/fer", 1) + "}":                           "key",
		strings.Replace(azure, "\"a\"", "\"A\"", 1) + "}":                              "name",
		azure + " roots = \"none\"\n}":                                                 "roots",
		strings.Replace(hsm, "\"t\"", "\"\"", 1):                                       "token",
		strings.Replace(hsm, "\"t\"", "\""+strings.Repeat("t", 33)+"\"", 1):            "token",
		strings.Replace(hsm, "\"k\"", "\"\"", 1):                                       "key",
		strings.Replace(hsm, "\"t\"", "\"%{for x in [\"t\"]}${x}%{endfor}\"", 1):       "no loops",
		hsm + "more = 1": "more",
	} {
		if _, err := nodeconfig.Parse("x", []byte(text)); !errors.Is(err, nodeconfig.ErrConfig) || !strings.Contains(err.Error(), want) {
			t.Errorf("%.200q: %v, want %q", text, err, want)
		}
	}
}

// The example that "make ego" embeds is one.
func TestExample(t *testing.T) {
	if c, err := nodeconfig.Load("../../cmd/coffer-kds/node.hcl"); err != nil || c.Cluster == nil {
		t.Error(err)
	}
}
