package policy_test

import (
	"strings"
	"testing"

	"github.com/coffer-fs/coffer/kds/policy"
)

// Every surprise is told when it is one, and only then.
func TestExplain(t *testing.T) {
	c, s, zero := "C:"+strings.Repeat("ab", 32), "S:"+strings.Repeat("cd", 32)+" PROD:7", "S:"+strings.Repeat("0", 64)+" PROD:1"
	for _, q := range []struct {
		text      string
		admits    string
		surprises []string
	}{
		{c, "its code hash is ABAB", []string{"no other build", "STALE admits"}},
		{c + " SEC:SECURE", "every patch", []string{"no other build", "SECURE locks"}},
		{c + " " + s, "ABAB, or its code signer is CDCD", []string{"C and S together mean or", "PROD counts", "without REVOKE", "STALE admits"}},
		{s + " REVOKE:2", "revocation level is 2 or more", []string{"STALE admits"}},
		{s + " REVOKE:0", "product ID is 7", []string{"REVOKE:0 refuses", "STALE admits"}},
		{s + " SEC:INSECURE", "simulated, debug", []string{"SEC:INSECURE admits no production enclave"}},
		{zero + " SEC:INSECURE", "level is INSECURE", []string{"signer of zeros", "SEC:INSECURE admits"}},
		{c + " EXPIRE:P6M", "younger than P6M", []string{"no other build", "STALE admits", "issue date"}},
		{c + " EXPIRE:P0D", "younger than P0D", []string{"no other build", "STALE admits", "nobody is admitted", "issue date"}},
	} {
		p, err := policy.Parse(q.text)
		if err != nil {
			t.Fatal(err)
		}
		e := p.Explain()
		said := strings.ReplaceAll(strings.Join(e.Admits, "; "), strings.Repeat("AB", 32), "ABAB")
		said = strings.ReplaceAll(said, strings.Repeat("CD", 32), "CDCD")
		if !strings.Contains(said, q.admits) {
			t.Errorf("%s: admits %s, want %q", q.text, said, q.admits)
		}
		if len(e.Surprises) != len(q.surprises) {
			t.Errorf("%s: surprises %q, want %q", q.text, e.Surprises, q.surprises)
			continue
		}
		for i, want := range q.surprises {
			if !strings.Contains(e.Surprises[i], want) {
				t.Errorf("%s: surprise %q, want %q", q.text, e.Surprises[i], want)
			}
		}
	}
}
