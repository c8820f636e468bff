package policy_test

import (
	"strings"
	"testing"
	"time"

	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/policy"
)

var seeds = []string{"", " ", "C:" + h1, "S:" + h2 + " PROD:1", "C:" + h1 + "  C:" + long1 + " S:" + h3 + " PROD:+07 REVOKE:3 SEC:SECURE EXPIRE:-P1Y-14M3W",
	"C:" + h1 + " EXPIRE:P9999Y", "PROD:1 SEC:STALE", "C:" + h1 + " EXPIRE:P0D", "C::", "FOO:1"}

func FuzzParse(f *testing.F) {
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := policy.Parse(text)
		lenient, lerr := policy.ParseTemplate(text)
		if err == nil && (lerr != nil || lenient.Canonical() != p.Canonical()) {
			t.Errorf("strict and lenient parsing disagree: %v", lerr)
		}
		if err == nil && (p.String() != text || p.Check() != nil) {
			t.Errorf("parsed %q to %q: %v", text, p, p.Check())
		}
	})
}

// Canonicalising is idempotent, and does not depend on spaces, order or case.
func FuzzCanonical(f *testing.F) {
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := policy.ParseTemplate(text)
		if err != nil {
			return
		}
		again, err := policy.ParseTemplate(p.Canonical())
		if err != nil || again.Canonical() != p.Canonical() {
			t.Fatalf("%q gives %q, and that %q: %v", text, p.Canonical(), again.Canonical(), err)
		}
		words := strings.Fields(strings.ReplaceAll(text, " ", "\n"))
		for i, j := 0, len(words)-1; i < j; i, j = i+1, j-1 {
			words[i], words[j] = words[j], words[i]
		}
		if other, err := policy.ParseTemplate(strings.Join(words, "  ")); err == nil && other.Canonical() != p.Canonical() {
			t.Errorf("%q: another order gives %q", text, other.Canonical())
		}
	})
}

// A text and its canonical form mean the same enclaves.
func FuzzMatch(f *testing.F) {
	for _, s := range seeds {
		f.Add(s, uint16(1), int32(3), uint8(2), int64(1_700_000_000))
	}
	now := time.Unix(1_760_000_000, 0)
	f.Fuzz(func(t *testing.T, text string, prod uint16, revocation int32, level uint8, at int64) {
		p, err := policy.Parse(text)
		if err != nil {
			return
		}
		canonical, err := policy.Parse(p.Canonical())
		if err != nil {
			t.Fatal(err)
		}
		who := id(h1, h2, prod, revocation, attest.Level(level), time.Unix(at, 0))
		a, b := p.Match(who, now), canonical.Match(who, now)
		if (a == nil) != (b == nil) {
			t.Errorf("%q: %v, canonical: %v", text, a, b)
		}
		if a == nil && who.Check() != nil {
			t.Errorf("an invalid identity matched")
		}
	})
}
