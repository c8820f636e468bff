package config_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/coffer-fs/coffer/config"
	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/policy"
)

const sampleKDS = "S:B4CDF6F4FA5B484FCA82292CE340FF305AA294F19382178BEA759E30E7DCFE2D PROD:1 SEC:STALE"

var self = attest.Identity{CodeHash: attest.Hash(strings.Repeat("A", 64)), SignerHash: attest.Hash(strings.Repeat("B", 64)),
	ProductID: 12, Level: attest.Stale, Mode: attest.Release}

func parse(t *testing.T, text string) (*config.Config, []string) {
	t.Helper()
	c, warnings, err := config.Parse("test.hcl", []byte(text))
	if err != nil {
		t.Fatalf("%s\n%v", text, err)
	}
	return c, warnings
}

// The sample configurations of the predecessor's documentation, as they are,
// in both forms.
func TestPredecessorSamples(t *testing.T) {
	own := "S:" + string(self.SignerHash) + " PROD:12 "
	for _, c := range []struct{ use, policy, flags, want string }{
		{"restrictive", "SEC:SECURE", "useOwnCodeHash = true", "C:" + string(self.CodeHash) + " SEC:SECURE"},
		{"less restrictive", "SEC:STALE", "useOwnCodeHash = true", "C:" + string(self.CodeHash) + " SEC:STALE"},
		{"permissive", "SEC:STALE", "useOwnCodeSignerAndProductID = true", own + "SEC:STALE"},
		{"staged", "REVOKE:3 SEC:STALE", "useOwnCodeSignerAndProductID = true", own + "REVOKE:3 SEC:STALE"},
	} {
		bare := fmt.Sprintf(`kds {
    kdsEnclaveConstraint = "%s" // the development KDS
    persistenceKeySpec {
        masterKeyType = "development"
        policyConstraint {
            // %s
            constraint = "%s"
            %s
        }
    }
}
`, sampleKDS, c.use, c.policy, c.flags)
		for form, text := range map[string]string{"bare": bare, "conclave": "conclave {\n" + bare + "}\n"} {
			cfg, warnings := parse(t, text)
			if len(warnings) > 0 {
				t.Errorf("%s, %s: %v", c.use, form, warnings)
			}
			if got := cfg.KDS.EnclaveConstraint.Canonical(); got != sampleKDS {
				t.Errorf("%s, %s: the KDS is %q", c.use, form, got)
			}
			spec, err := cfg.PersistenceKeySpec().For(self)
			if err != nil || spec.Name != kds.EnclavePersistence || spec.MasterKeyType != kds.Development || spec.PolicyConstraint.Canonical() != c.want {
				t.Errorf("%s, %s: %v, %v, want %s", c.use, form, spec, err, c.want)
			}
		}
	}
	// the development KDS alone, without a spec: mail needs no more
	cfg, _ := parse(t, `kds { kdsEnclaveConstraint = "`+sampleKDS+`" }`)
	if cfg.PersistenceKeySpec() != nil {
		t.Error("a spec came from nowhere")
	}
}

const whole = `persistentFileSystemSize = "64m"
kds {
  kdsEnclaveConstraint = "S:0000000000000000000000000000000000000000000000000000000000000000 PROD:1 SEC:INSECURE"
  persistenceKeySpec {
    masterKeyType = "development"
    policyConstraint {
      constraint                   = "SEC:STALE"
      useOwnCodeSignerAndProductID = true
    }
  }
}
`

func TestWhole(t *testing.T) {
	c, _ := parse(t, whole)
	if c.PersistentFileSystemSize != 64<<20 || c.InMemoryFileSystemSize != 64<<20 {
		t.Errorf("sizes %d and %d", c.PersistentFileSystemSize, c.InMemoryFileSystemSize)
	}
	if string(c.Raw()) != whole || c.Hash() != sha256.Sum256([]byte(whole)) {
		t.Error("what is measured is not what was read")
	}
	commented, _ := parse(t, whole+"// a comment\n")
	if commented.Hash() == c.Hash() {
		t.Error("a comment is not measured")
	}
	path := filepath.Join(t.TempDir(), "coffer.hcl")
	if err := os.WriteFile(path, []byte(whole), 0o600); err != nil {
		t.Fatal(err)
	}
	if loaded, _, err := config.Load(path); err != nil || loaded.Hash() != c.Hash() {
		t.Errorf("load: %v", err)
	}
	if _, _, err := config.Load(path + "x"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
	empty, _ := parse(t, "")
	if empty.KDS != nil || empty.PersistenceKeySpec() != nil || empty.PersistentFileSystemSize != 0 {
		t.Errorf("%+v", empty)
	}
	if _, err := c.PersistenceKeySpec().For(attest.Identity{}); !errors.Is(err, policy.ErrInvalid) {
		t.Errorf("no identity: %v", err)
	}
}

func TestWarnings(t *testing.T) {
	_, warnings := parse(t, strings.Replace(whole, "persistenceKeySpec", "keySpec", 1))
	if len(warnings) != 1 || !strings.Contains(warnings[0], "test.hcl:4,3-10: keySpec is the old name of persistenceKeySpec") {
		t.Errorf("%q", warnings)
	}
	_, warnings = parse(t, strings.Replace(whole, "useOwnCodeSigner", "useOwnCodeHash = true\nuseOwnCodeSigner", 1))
	if len(warnings) != 1 || !strings.Contains(warnings[0], "the code hash adds nothing") {
		t.Errorf("%q", warnings)
	}
}

func TestRefuses(t *testing.T) {
	edit := func(old, new string) string {
		if !strings.Contains(whole, old) {
			t.Fatalf("%q is not in the sample", old)
		}
		return strings.Replace(whole, old, new, 1)
	}
	for _, c := range []struct{ text, want string }{
		{edit("persistenceKeySpec", "persistencekeySpec"), `unknown name "persistencekeySpec": did you mean persistenceKeySpec?`},
		{edit("kdsEnclaveConstraint", "kdsEnclaveConstraints"), `unknown name "kdsEnclaveConstraints": did you mean kdsEnclaveConstraint?`},
		{edit("useOwnCodeSignerAndProductID", "useOwnCodeSignerAndProductId"), "did you mean useOwnCodeSignerAndProductID?"},
		{edit("masterKeyType", "masterKey"), `unknown name "masterKey": here stand masterKeyType, policyConstraint`},
		{edit("kds {", "kdss {"), "did you mean kds?"},
		{"mode = \"debug\"\n" + whole, `unknown name "mode"`},
		{edit("kds {", `kds "x" {`), "kds has no label"},
		{"kds = {}\n", "kds is a block"},
		{"persistentFileSystemSize {}\n", "persistentFileSystemSize is a value"},
		{whole + "kds {}\n", "kds is given twice"},
		{whole + "conclave {\n" + strings.TrimPrefix(whole, "persistentFileSystemSize = \"64m\"\n") + "}\n", "kds is given twice"},
		{whole + "conclave { persistentFileSystemSize = \"64m\" }\n", "persistentFileSystemSize is given twice"},
		{whole + whole, "test.hcl:12"},
		{edit("persistenceKeySpec {", "keySpec {}\npersistenceKeySpec {"), "persistenceKeySpec is given twice"},
		{edit(`"development"`, `"debug"`), `unknown master key type "debug"`},
		{edit(`"development"`, `7`), "masterKeyType is a text in quotes"},
		{edit(`"development"`, `null`), "masterKeyType is not a plain value"},
		{edit(`"development"`, `"${x}"`), "masterKeyType is not a plain value"},
		{edit(`"development"`, `"dev%{for x in ["elop", "ment"]}${x}%{endfor}"`), "masterKeyType is not a plain value"},
		{edit(`"development"`, `[for x in ["development"] : x][0]`), "masterKeyType is not a plain value"},
		{edit(`= true`, `= "true"`), "useOwnCodeSignerAndProductID is true or false"},
		{edit(`= true`, `= false`), "either a code hash (C) or a code signer (S) must be provided"},
		{edit(`"SEC:STALE"`, `"SEC:STALE FOO:1"`), "unknown key"},
		{edit(`"SEC:STALE"`, `"SEC:STALE SEC:STALE"`), "more than one SEC"},
		{edit(` PROD:1 `, ` `), "kdsEnclaveConstraint: invalid policy constraint"},
		{"kds {}\n", "kds: kdsEnclaveConstraint is required"},
		{edit(`masterKeyType = "development"`, ""), "persistenceKeySpec: masterKeyType is required"},
		{edit(`constraint                   = "SEC:STALE"`, ""), "policyConstraint: constraint is required"},
		{"kds {\n kdsEnclaveConstraint = \"" + sampleKDS + "\"\n persistenceKeySpec {\n masterKeyType = \"cluster\"\n}\n}\n", "policyConstraint is required"},
		{edit(`"64m"`, `"7m"`), `"7m": it is 0 (off) or from 8m to 8t`},
		{edit(`"64m"`, `"9t"`), "from 8m to 8t"},
		{edit(`"64m"`, `"-8m"`), "invalid size"},
		{edit(`"64m"`, `-8`), "invalid size"},
		{edit(`"64m"`, `8388608.5`), "invalid size"},
		{edit(`"64m"`, `true`), "is a size"},
		{edit(`"64m"`, `1e99`), "invalid size"},
		{edit(`"64m"`, `1e9999999`), "persistentFileSystemSize"},
		{"kds {", "test.hcl:1"},
		{strings.Repeat(" ", config.MaxBytes+1), "larger than 65536"},
		{"\xff", "test.hcl:1"},
	} {
		if _, _, err := config.Parse("test.hcl", []byte(c.text)); !errors.Is(err, config.ErrInvalid) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s\n%v, want %q", c.text, err, c.want)
		}
	}
	// PROD that is not the enclave's own is found where the enclave is known
	c, _ := parse(t, edit(`"SEC:STALE"`, `"PROD:13 SEC:STALE"`))
	if _, err := c.PersistenceKeySpec().For(self); err == nil || !strings.Contains(err.Error(), "PROD:13 is already specified") {
		t.Errorf("got %v", err)
	}
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]int64{
		`"8m"`: 8 << 20, `"8M"`: 8 << 20, `"9000k"`: 9000 << 10, `"2g"`: 2 << 30, `"8t"`: 8 << 40, `8388608`: 8 << 20, `"8388608"`: 8 << 20, `0`: 0, `"0"`: 0, `"0m"`: 0,
	} {
		c, _ := parse(t, "persistentFileSystemSize = "+text+"\ninMemoryFileSystemSize = "+text+"\n")
		if c.PersistentFileSystemSize != want || c.InMemoryFileSystemSize != want {
			t.Errorf("%s is %d and %d, want %d", text, c.PersistentFileSystemSize, c.InMemoryFileSystemSize, want)
		}
	}
	for _, text := range []string{"", "m", "8mm", "8 m", "+8m", "1_000", "0x10", "99999999999999999999", "9999999999t", "8.5m", "8mb"} {
		if n, err := config.ParseSize(text); !errors.Is(err, config.ErrSize) {
			t.Errorf("ParseSize(%q) = %d, %v", text, n, err)
		}
	}
}

func TestMounts(t *testing.T) {
	p, m := config.Mount{Path: "/", Persistent: true, LimitBytes: 8 << 20}, config.Mount{Path: "/tmp", LimitBytes: 8 << 20}
	root := m
	root.Path = "/"
	for text, want := range map[string][]config.Mount{
		"persistentFileSystemSize = \"8m\"\ninMemoryFileSystemSize = \"8m\"": {p, m},
		"persistentFileSystemSize = \"8m\"\ninMemoryFileSystemSize = 0":      {p},
		"inMemoryFileSystemSize = \"8m\"":                                    {root},
		"inMemoryFileSystemSize = 0":                                         nil,
	} {
		if c, _ := parse(t, text); !slices.Equal(c.Mounts(), want) {
			t.Errorf("%s: %+v, want %+v", text, c.Mounts(), want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(whole))
	f.Add([]byte("conclave {\n" + whole + "}\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, _, err := config.Parse("test.hcl", b)
		if (err == nil) == (c == nil) {
			t.Errorf("%v, %v", c, err)
		}
		if err == nil && c.PersistenceKeySpec() != nil {
			_, _ = c.PersistenceKeySpec().For(self)
		}
	})
}
