package policy_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/policy"
)

const (
	h1 = "da78b28564fe5a9b4f5912901f068f9f94483006bc53e10ab93dbb97675eba26"
	h2 = "edd5c98fcb260633a6e6abd0aaa59c07aee6e2492fe22fb89413edd875edf27a"
	h3 = "0f738309dee76fcd9ad1b50f1c208ad3b1d2c8a62059c410b4806a88451c66ee"
	h4 = "f77e0720c4dd119395e195223908d0e98baeca678bf9af8cabea2cc5278dac8d"
	z  = "0000000000000000000000000000000000000000000000000000000000000000"
)

var (
	u1, u2, u3, u4 = strings.ToUpper(h1), strings.ToUpper(h2), strings.ToUpper(h3), strings.ToUpper(h4)
	long1          = h1 + h2 // 128 digits
)

// The predecessor's grammar: what parses, and to which canonical text.
func TestParse(t *testing.T) {
	for _, c := range []struct{ text, canonical string }{
		{"C:" + h1, "C:" + u1 + " SEC:STALE"},
		{"PROD:10 S:" + h1, "S:" + u1 + " PROD:10 SEC:STALE"},
		{"C:" + h1 + " S:" + h2 + " C:" + h3 + " S:" + h4 + " PROD:3123",
			"C:" + u3 + " C:" + u1 + " S:" + u2 + " S:" + u4 + " PROD:3123 SEC:STALE"},
		{"REVOKE:3 C:" + h1, "C:" + u1 + " REVOKE:3 SEC:STALE"},
		{"SEC:SECURE C:" + h1, "C:" + u1 + " SEC:SECURE"},
		{"EXPIRE:P2M3W4D C:" + h1, "C:" + u1 + " EXPIRE:P2M25D SEC:STALE"},
		{"C:" + h1 + "  SEC:SECURE", "C:" + u1 + " SEC:SECURE"},
		{"   C:" + h1 + " ", "C:" + u1 + " SEC:STALE"},
		{"C:" + u1 + " C:" + h1, "C:" + u1 + " SEC:STALE"},
		{"C:" + long1, "C:" + strings.ToUpper(long1) + " SEC:STALE"},
		{"S:" + h1 + " PROD:1 SEC:INSECURE EXPIRE:P6M2W5D", "S:" + u1 + " PROD:1 EXPIRE:P6M19D SEC:INSECURE"},
		{"S:" + z + " PROD:1 SEC:INSECURE", "S:" + z + " PROD:1 SEC:INSECURE"},
		{"S:" + h1 + " PROD:+7", "S:" + u1 + " PROD:7 SEC:STALE"},
		{"S:" + h1 + " PROD:007", "S:" + u1 + " PROD:7 SEC:STALE"},
		{"S:" + h1 + " PROD:-0", "S:" + u1 + " PROD:0 SEC:STALE"},
		{"S:" + h1 + " PROD:65535 REVOKE:2147483647", "S:" + u1 + " PROD:65535 REVOKE:2147483647 SEC:STALE"},
		{"C:" + h1 + " REVOKE:0", "C:" + u1 + " REVOKE:0 SEC:STALE"},
		{"C:" + h1 + " S:" + h2 + " PROD:1 EXPIRE:p1y6m REVOKE:1 SEC:SECURE",
			"C:" + u1 + " S:" + u2 + " PROD:1 REVOKE:1 EXPIRE:P1Y6M SEC:SECURE"},
	} {
		p, err := policy.Parse(c.text)
		if err != nil {
			t.Errorf("Parse(%q): %v", c.text, err)
			continue
		}
		if p.Canonical() != c.canonical {
			t.Errorf("Parse(%q).Canonical() = %q, want %q", c.text, p.Canonical(), c.canonical)
		}
		if p.String() != c.text {
			t.Errorf("Parse(%q).String() = %q", c.text, p.String())
		}
		again, err := policy.Parse(p.Canonical())
		if err != nil || again.Canonical() != p.Canonical() {
			t.Errorf("canonical text of %q is not a fixed point: %q, %v", c.text, again.Canonical(), err)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", "either a code hash (C) or a code signer (S) must be provided"},
		{"   ", "either a code hash (C) or a code signer (S) must be provided"},
		{"SEC:INSECURE", "either a code hash (C) or a code signer (S) must be provided"},
		{"S:" + h1, "a product ID (PROD) must be provided with a code signer (S)"},
		{"C:" + h1 + " PROD:9001", "a code signer (S) must be provided with a product ID (PROD)"},
		{"S:" + h1 + " PROD:-1", "product ID is negative"},
		{"S:" + h1 + " PROD:65536", "product ID is not a 16-bit number"},
		{"S:" + h1 + " PROD:99999999999", "number is too large"},
		{"S:" + h1 + " PROD:", "not a decimal number"},
		{"S:" + h1 + " PROD:0x1", "not a decimal number"},
		{"S:" + h1 + " PROD:1_0", "not a decimal number"},
		{"C:" + h1 + " REVOKE:-1", "minimum revocation level is negative"},
		{"C:" + h1 + " REVOKE:2147483648", "number is too large"},
		{"C:", "0 characters, want 64 or 128"},
		{"C:" + h1[:63], "63 characters, want 64 or 128"},
		{"C:" + h1[:63] + "g", "not hexadecimal"},
		{"S:" + h1[:63] + "\xff PROD:1", "not hexadecimal"},
		{"c:" + h1, `unknown key "c"`},
		{"C:" + h1 + "\tSEC:SECURE", "one colon"},
		{"C:" + h1 + "\n", "65 characters, want 64 or 128"},
		{"SEC:secure C:" + h1, `unknown security level "secure"`},
		{"SEC: C:" + h1, "unknown security level"},
		{"C:" + h1 + " SEC:STALE SEC:STALE", "more than one SEC defined"},
		{"S:" + h1 + " PROD:1 PROD:1", "more than one PROD defined"},
		{"C:" + h1 + " REVOKE:1 REVOKE:2", "more than one REVOKE defined"},
		{"C:" + h1 + " EXPIRE:P1D EXPIRE:P1D", "more than one EXPIRE defined"},
		{"FOO:1", `unknown key "FOO"`},
		{"C=" + h1, "one colon"},
		{"C:" + h1 + ":", "one colon"},
		{":", `unknown key ""`},
		{"EXPIRE:PT5H C:" + h1, "not an ISO-8601 date period"},
		{"EXPIRE:P C:" + h1, "not an ISO-8601 date period"},
		{"EXPIRE: C:" + h1, "not an ISO-8601 date period"},
		{"EXPIRE:P1D1Y C:" + h1, "not an ISO-8601 date period"},
		{"EXPIRE:P99999999999Y C:" + h1, "longer than 9999 years"},
		{"EXPIRE:P10000Y C:" + h1, "longer than 9999 years"},
		{"C:" + h1 + strings.Repeat(" ", policy.MaxTextBytes), "at most 8192 are read"},
	} {
		p, err := policy.Parse(c.text)
		if !errors.Is(err, policy.ErrInvalid) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("Parse(%q) = %q, want %q", c.text, err, c.want)
		}
		if p.String() != "" || p.Check() == nil {
			t.Errorf("Parse(%q) failed and returned %q", c.text, p)
		}
		if err != nil && len(err.Error()) > 300 {
			t.Errorf("Parse(%.40q...) repeats %d bytes of its input", c.text, len(err.Error()))
		}
	}
}

// A text that is within the limit is refused if its canonical form is not:
// whatever parses can be written canonically and parsed again.
func TestCanonicalStaysReadable(t *testing.T) {
	var terms []string
	for i := range 91 + 16 {
		digits := 64
		if i < 16 {
			digits = 128
		}
		terms = append(terms, fmt.Sprintf("C:%0*x", digits, i))
	}
	text := strings.Join(terms, " ")
	if len(text) != policy.MaxTextBytes {
		t.Fatalf("the text has %d bytes", len(text))
	}
	if _, err := policy.Parse(text); !errors.Is(err, policy.ErrInvalid) || !strings.Contains(err.Error(), "8202 bytes long in canonical form") {
		t.Errorf("got %v", err)
	}
	if _, err := policy.Parse(strings.Join(terms[1:], " ")); err != nil {
		t.Error(err)
	}
}

func id(code, signer string, prod uint16, revocation int32, level attest.Level, at time.Time) attest.Identity {
	mode := attest.Release
	return attest.Identity{CodeHash: attest.Hash(strings.ToUpper(code)), SignerHash: attest.Hash(strings.ToUpper(signer)),
		ProductID: prod, RevocationLevel: revocation, Level: level, Mode: mode, Timestamp: at}
}

func TestMatch(t *testing.T) {
	now := time.Date(2026, 3, 31, 12, 0, 0, 0, time.UTC)
	me := id(h1, h2, 10, 3, attest.Secure, now)
	with := func(f func(*attest.Identity)) attest.Identity { i := me; f(&i); return i }
	level := func(l attest.Level) attest.Identity { return with(func(i *attest.Identity) { i.Level = l }) }
	at := func(t time.Time) attest.Identity { return with(func(i *attest.Identity) { i.Timestamp = t }) }

	for _, c := range []struct {
		text string
		who  attest.Identity
		term string // that refuses; none if it matches
		want string
	}{
		{"C:" + h1, me, "", ""},
		{"C:" + h3, me, "C", "wants code hash " + u3 + ", got " + u1},
		{"S:" + h2 + " PROD:10", me, "", ""},
		{"S:" + h3 + " PROD:10", me, "S", "wants code signer " + u3 + ", got " + u2},
		{"C:" + h1 + " S:" + h3 + " PROD:10", me, "", ""},
		{"C:" + h3 + " S:" + h2 + " PROD:10", me, "", ""},
		{"C:" + h3 + " S:" + h4 + " PROD:10", me, "C and S", "wants code hash " + u3 + " or code signer " + u4},
		{"C:" + h3 + " C:" + h1, me, "", ""},
		{"S:" + h2 + " PROD:1", me, "PROD", "wants product ID 1, got 10"},
		{"C:" + h1 + " S:" + h3 + " PROD:1", me, "PROD", "wants product ID 1, got 10"},
		{"C:" + h1 + " REVOKE:2", me, "", ""},
		{"C:" + h1 + " REVOKE:3", me, "", ""},
		{"C:" + h1 + " REVOKE:4", me, "REVOKE", "wants revocation level 4 or more, got 3"},
		{"C:" + h1 + " REVOKE:0", with(func(i *attest.Identity) { i.RevocationLevel = -1 }), "REVOKE", "got -1"},

		{"C:" + h1 + " SEC:STALE", level(attest.Secure), "", ""},
		{"C:" + h1 + " SEC:STALE", level(attest.Stale), "", ""},
		{"C:" + h1 + " SEC:STALE", level(attest.Insecure), "SEC", "wants security level STALE or SECURE, got INSECURE"},
		{"C:" + h1 + " SEC:SECURE", level(attest.Secure), "", ""},
		{"C:" + h1 + " SEC:SECURE", level(attest.Stale), "SEC", "wants security level SECURE, got STALE"},
		{"C:" + h1 + " SEC:SECURE", level(attest.Insecure), "SEC", "got INSECURE"},
		{"C:" + h1 + " SEC:INSECURE", level(attest.Secure), "SEC", "wants security level INSECURE and no other, got SECURE"},
		{"C:" + h1 + " SEC:INSECURE", level(attest.Stale), "SEC", "got STALE"},
		{"C:" + h1 + " SEC:INSECURE", level(attest.Insecure), "", ""},

		{"C:" + h1 + " EXPIRE:P6M", at(time.Unix(0, 0)), "EXPIRE", "wants attestation younger than P6M, got one of 1970-01-01T00:00:00Z"},
		{"C:" + h1 + " EXPIRE:P6M", at(now), "", ""},
		{"C:" + h1 + " EXPIRE:P0D", at(now), "EXPIRE", ""},
		{"C:" + h1 + " EXPIRE:P-1D", at(now), "EXPIRE", ""},
		{"C:" + h1 + " EXPIRE:P1M", at(time.Date(2026, 2, 28, 12, 0, 0, 1, time.UTC)), "", ""},
		{"C:" + h1 + " EXPIRE:P1M", at(time.Date(2026, 2, 28, 12, 0, 0, 0, time.UTC)), "EXPIRE", ""},
		{"C:" + h1 + " EXPIRE:P1Y1W1D", at(time.Date(2025, 3, 23, 12, 0, 0, 1, time.UTC)), "", ""},
		{"C:" + h1 + " EXPIRE:P1Y1W1D", at(time.Date(2025, 3, 23, 12, 0, 0, 0, time.UTC)), "EXPIRE", ""},
		{"C:" + h1 + " EXPIRE:P1D", at(time.Time{}), "EXPIRE", ""},

		// the order of the terms: the first that fails is named
		{"C:" + h3 + " REVOKE:9 SEC:SECURE", level(attest.Insecure), "C", ""},
		{"S:" + h2 + " PROD:1 REVOKE:9", me, "PROD", ""},
		{"C:" + h1 + " REVOKE:9 SEC:SECURE", level(attest.Stale), "REVOKE", ""},
		{"C:" + h1 + " SEC:SECURE EXPIRE:P0D", level(attest.Stale), "SEC", ""},
	} {
		p, err := policy.Parse(c.text)
		if err != nil {
			t.Fatalf("%q: %v", c.text, err)
		}
		err = p.Match(c.who, now)
		var m *policy.Mismatch
		switch {
		case c.term == "" && err != nil:
			t.Errorf("%q refuses %v: %v", c.text, c.who, err)
		case c.term == "":
		case !errors.As(err, &m) || !errors.Is(err, policy.ErrMismatch):
			t.Errorf("%q and %v: %v, want a mismatch in %s", c.text, c.who, err, c.term)
		case m.Term != c.term || !strings.Contains(err.Error(), c.want):
			t.Errorf("%q and %v: %v, want term %s and %q", c.text, c.who, err, c.term, c.want)
		}
	}
}

// Nothing matches that is not whole.
func TestMatchRefusesTheInvalid(t *testing.T) {
	now := time.Now()
	whole := id(h1, h2, 1, 0, attest.Stale, now)
	var zero policy.Constraint
	if err := zero.Match(whole, now); !errors.Is(err, policy.ErrInvalid) {
		t.Errorf("the zero constraint: %v", err)
	}
	template, err := policy.ParseTemplate("SEC:STALE")
	if err != nil {
		t.Fatal(err)
	}
	if err := template.Match(whole, now); !errors.Is(err, policy.ErrInvalid) {
		t.Errorf("a template: %v", err)
	}
	p, err := policy.Parse("C:" + h1 + " SEC:INSECURE")
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*attest.Identity){
		"zero":           func(i *attest.Identity) { *i = attest.Identity{} },
		"no level":       func(i *attest.Identity) { i.Level = 0 },
		"unknown level":  func(i *attest.Identity) { i.Level = 77 },
		"no mode":        func(i *attest.Identity) { i.Mode = 0 },
		"no signer":      func(i *attest.Identity) { i.SignerHash = "" },
		"secure debug":   func(i *attest.Identity) { i.Mode, i.Level = attest.Debug, attest.Secure },
		"stale simulate": func(i *attest.Identity) { i.Mode = attest.Simulation },
		"revocation -2":  func(i *attest.Identity) { i.RevocationLevel = -2 },
	} {
		who := whole
		change(&who)
		if err := p.Match(who, now); !errors.Is(err, policy.ErrMismatch) || !errors.Is(err, attest.ErrIdentity) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Hostile constraints with many hashes must not make errors of their size.
func TestMismatchIsBounded(t *testing.T) {
	var b strings.Builder
	for i := range 60 {
		b.WriteString("C:" + strings.Repeat("0", 126) + string("0123456789abcdef"[i/16]) + string("0123456789abcdef"[i%16]) + " ")
	}
	p, err := policy.Parse(b.String())
	if err != nil {
		t.Fatal(err)
	}
	err = p.Match(id(h1, h2, 1, 0, attest.Stale, time.Now()), time.Now())
	if err == nil || len(err.Error()) > 1000 || !strings.Contains(err.Error(), "56 more") {
		t.Errorf("got %v", err)
	}
}

// The predecessor's run-time expansion, row by row.
func TestExpand(t *testing.T) {
	self := id(h1, h2, 12, 0, attest.Insecure, time.Now())
	self.Mode = attest.Simulation
	hash, signer := policy.Own{CodeHash: true}, policy.Own{SignerAndProductID: true}
	both := policy.Own{CodeHash: true, SignerAndProductID: true}
	for _, c := range []struct {
		template string
		use      policy.Own
		want     string
	}{
		{"  C:" + h1 + " SEC:INSECURE  ", policy.Own{}, "  C:" + h1 + " SEC:INSECURE  "},
		{" C:" + z + " SEC:INSECURE", hash, " C:" + z + " SEC:INSECURE C:" + u1},
		{"C:" + h1 + " SEC:INSECURE", hash, "C:" + h1 + " SEC:INSECURE"},
		{"C:" + u1 + " SEC:INSECURE", hash, "C:" + u1 + " SEC:INSECURE"},
		{" SEC:INSECURE", signer, " SEC:INSECURE S:" + u2 + " PROD:12"},
		{" S:" + h2 + " SEC:INSECURE PROD:12", signer, " S:" + h2 + " SEC:INSECURE PROD:12"},
		{"PROD:12 SEC:INSECURE", signer, "PROD:12 SEC:INSECURE S:" + u2},
		{"S:" + u2 + " SEC:INSECURE", signer, "S:" + u2 + " SEC:INSECURE PROD:12"},
		{"SEC:INSECURE", both, "SEC:INSECURE C:" + u1 + " S:" + u2 + " PROD:12"},
		{"", both, " C:" + u1 + " S:" + u2 + " PROD:12"},
		{"REVOKE:2 SEC:STALE", signer, "REVOKE:2 SEC:STALE S:" + u2 + " PROD:12"},
	} {
		p, err := policy.Expand(c.template, c.use, self)
		if err != nil || p.String() != c.want {
			t.Errorf("Expand(%q, %+v) = %q, %v, want %q", c.template, c.use, p, err, c.want)
		}
	}
	for _, c := range []struct {
		template string
		use      policy.Own
		want     string
	}{
		{"SEC:INSECURE", policy.Own{}, "either a code hash"},
		{"PROD:13 SEC:INSECURE", signer, "PROD:13 is already specified and the enclave's own is 12"},
		{"PROD:12", hash, "a code signer (S) must be provided"},
		{"SEC:INSECURE FOO:1", both, "unknown key"},
	} {
		if p, err := policy.Expand(c.template, c.use, self); !errors.Is(err, policy.ErrInvalid) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("Expand(%q, %+v) = %q, %v, want %q", c.template, c.use, p, err, c.want)
		}
	}
}

func TestPeriod(t *testing.T) {
	for text, want := range map[string]string{
		"P6M": "P6M", "p6m": "P6M", "P2M3W4D": "P2M25D", "P1Y": "P1Y", "P12M": "P1Y", "P18M": "P1Y6M", "P0D": "P0D", "P0Y": "P0D",
		"P-6M": "P-6M", "-P6M": "P-6M", "-P-6M": "P6M", "+P+6M": "P6M", "P1Y-12M": "P0D", "P1Y-18M": "P-6M", "-P1Y6M": "P-1Y-6M",
		"P1W-7D": "P0D", "P9999Y": "P9999Y",
	} {
		p, err := policy.ParsePeriod(text)
		if err != nil || p.String() != want {
			t.Errorf("ParsePeriod(%q) = %v, %v, want %s", text, p, err, want)
		}
	}
	for _, text := range []string{"", "P", "6M", "P6", "PT1H", "P1D2M", "P1.5M", "P1M ", "P--1M", "P2147483648D", "P9999Y1M", "P٣D"} {
		if p, err := policy.ParsePeriod(text); err == nil {
			t.Errorf("ParsePeriod(%q) = %v", text, p)
		}
	}
	day := func(s string) time.Time {
		d, err := time.Parse("2006-01-02", s)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	for _, c := range []struct{ from, period, want string }{
		{"2026-03-31", "P1M", "2026-02-28"},
		{"2024-03-31", "P1M", "2024-02-29"},
		{"2024-02-29", "P1Y", "2023-02-28"},
		{"2026-01-15", "P1M15D", "2025-11-30"},
		{"2026-01-31", "P-1M", "2026-02-28"},
		{"2026-01-01", "P13M1D", "2024-11-30"},
	} {
		p, err := policy.ParsePeriod(c.period)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Before(day(c.from)); !got.Equal(day(c.want)) {
			t.Errorf("%s before %s is %s, want %s", c.period, c.from, got.Format("2006-01-02"), c.want)
		}
	}
}

func TestText(t *testing.T) {
	var c policy.Constraint
	if err := c.UnmarshalText([]byte("C:" + h1)); err != nil {
		t.Fatal(err)
	}
	if b, err := c.MarshalText(); err != nil || string(b) != "C:"+h1 {
		t.Errorf("%q, %v", b, err)
	}
	if err := c.UnmarshalText([]byte("SEC:STALE")); !errors.Is(err, policy.ErrInvalid) {
		t.Errorf("a template was unmarshalled: %v", err)
	}
	if rev, ok := c.MinRevocation(); ok || rev != 0 {
		t.Error("REVOKE was not given")
	}
	if _, ok := c.ProductID(); ok || c.Level() != attest.Stale || len(c.CodeHashes()) != 1 || len(c.Signers()) != 0 {
		t.Error("the terms are wrong")
	}
}
