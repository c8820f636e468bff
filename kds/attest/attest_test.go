package attest_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/coffer-fs/coffer/kds/attest"
)

var good = attest.Identity{CodeHash: attest.Hash(strings.Repeat("A", 64)), SignerHash: attest.Hash(strings.Repeat("B", 128)),
	Level: attest.Secure, Mode: attest.Release}

type answer struct{ r attest.Report }

func (a answer) Verify(context.Context, attest.Evidence) (attest.Report, error) { return a.r, nil }

// A zero in any part is invalid, and Verifiers let no such identity through.
func TestIdentityCheck(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*attest.Identity)
		ok     bool
	}{
		"whole":            {func(*attest.Identity) {}, true},
		"svn 0":            {func(i *attest.Identity) { i.RevocationLevel = -1 }, true},
		"insecure debug":   {func(i *attest.Identity) { i.Mode, i.Level = attest.Debug, attest.Insecure }, true},
		"insecure release": {func(i *attest.Identity) { i.Level = attest.Insecure }, true},
		"zero":             {func(i *attest.Identity) { *i = attest.Identity{} }, false},
		"no code":          {func(i *attest.Identity) { i.CodeHash = "" }, false},
		"lower case":       {func(i *attest.Identity) { i.CodeHash = attest.Hash(strings.Repeat("a", 64)) }, false},
		"no signer":        {func(i *attest.Identity) { i.SignerHash = "" }, false},
		"no level":         {func(i *attest.Identity) { i.Level = 0 }, false},
		"no mode":          {func(i *attest.Identity) { i.Mode = 0 }, false},
		"level 4":          {func(i *attest.Identity) { i.Level = 4 }, false},
		"mode 4":           {func(i *attest.Identity) { i.Mode = 4 }, false},
		"stale debug":      {func(i *attest.Identity) { i.Mode, i.Level = attest.Debug, attest.Stale }, false},
		"secure sim":       {func(i *attest.Identity) { i.Mode = attest.Simulation }, false},
		"revocation -2":    {func(i *attest.Identity) { i.RevocationLevel = -2 }, false},
	} {
		i := good
		c.change(&i)
		if err := i.Check(); (err == nil) != c.ok || (err != nil && !errors.Is(err, attest.ErrIdentity)) {
			t.Errorf("%s: %v", name, err)
		}
		v := attest.Verifiers{attest.FormatSim: answer{attest.Report{Identity: i}}}
		r, err := v.Verify(context.Background(), attest.Evidence{Format: attest.FormatSim})
		if (err == nil) != c.ok || (err != nil && (!errors.Is(err, attest.ErrEvidence) || r != attest.Report{})) {
			t.Errorf("%s through a verifier: %v", name, err)
		}
	}
}

func TestVerifiersRefuse(t *testing.T) {
	v := attest.Verifiers{attest.FormatSim: answer{attest.Report{Identity: good}}}
	for want, e := range map[string]attest.Evidence{
		`format "" is not accepted`:          {},
		`format "sgx-quote" is not accepted`: {Format: attest.FormatSGXQuote},
		"at most 65536 are read":             {Format: attest.FormatSim, Data: make([]byte, attest.MaxEvidenceSize+1)},
	} {
		if _, err := v.Verify(context.Background(), e); !errors.Is(err, attest.ErrEvidence) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestNames(t *testing.T) {
	for _, l := range []attest.Level{attest.Insecure, attest.Stale, attest.Secure} {
		if got, err := attest.ParseLevel(l.String()); err != nil || got != l {
			t.Errorf("%v: %v, %v", l, got, err)
		}
	}
	if _, err := attest.ParseLevel("secure"); !errors.Is(err, attest.ErrLevel) {
		t.Error(err)
	}
	if s := attest.Level(0).String() + attest.Mode(0).String(); s != "invalid level 0invalid mode 0" {
		t.Error(s)
	}
	if !strings.Contains(good.String(), "PROD:0 REVOKE:0 SEC:SECURE (release)") {
		t.Error(good.String())
	}
	if h, err := attest.ParseHash(strings.Repeat("é", 32)); err == nil {
		t.Error(h)
	}
	if attest.Hash("xy").Bytes() != nil || len(good.CodeHash.Bytes()) != 32 {
		t.Error("bytes of a hash")
	}
}
