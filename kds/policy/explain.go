package policy

import (
	"fmt"
	"strings"

	"github.com/coffer-fs/coffer/kds/attest"
)

// Explanation is a constraint in words.
type Explanation struct {
	// Admits is what an enclave must be, all of it.
	Admits []string
	// Surprises are consequences that people do not expect.
	Surprises []string
}

// Explain says what a valid constraint admits.
func (c Constraint) Explain() Explanation {
	return Explanation{Admits: c.admits(), Surprises: c.surprises()}
}

func (c Constraint) admits() []string {
	says := []string{c.who()}
	if c.prod != nil {
		says = append(says, fmt.Sprintf("its product ID is %d", *c.prod))
	}
	if c.revoke != nil {
		says = append(says, fmt.Sprintf("its revocation level is %d or more", *c.revoke))
	}
	says = append(says, map[attest.Level]string{
		attest.Insecure: "its security level is INSECURE: simulated, debug, or on a revoked platform",
		attest.Stale:    "its security level is STALE or SECURE: in release mode, on a platform that may lack patches",
		attest.Secure:   "its security level is SECURE: in release mode, on a platform with every patch",
	}[c.sec])
	if c.expire != nil {
		says = append(says, "its attestation is younger than "+c.expire.String())
	}
	return says
}

func (c Constraint) who() string {
	var one []string
	for _, h := range c.codes {
		one = append(one, "its code hash is "+string(h))
	}
	for _, h := range c.signers {
		one = append(one, "its code signer is "+string(h))
	}
	return strings.Join(one, ", or ")
}

// surprises goes by term, in the order in which they are matched.
func (c Constraint) surprises() []string {
	var all []string
	add := func(when bool, text string) {
		if when {
			all = append(all, text)
		}
	}
	codes, signers := len(c.codes) > 0, len(c.signers) > 0
	add(codes && signers, "C and S together mean or: every build of the signer is admitted, also with another code hash")
	add(codes && c.prod != nil, "PROD counts for code hashes too: one with another product ID is refused")
	add(codes && !signers, "no other build is ever admitted: an upgrade gets another key, by handover")
	add(c.simulated(), "a signer of zeros is that of simulated enclaves by default: everybody can start one")
	add(signers && c.revoke == nil && c.sec != attest.Insecure, "without REVOKE every older build of the signer is admitted, with its known faults")
	add(c.revoke != nil && *c.revoke == 0, "REVOKE:0 refuses only an ISVSVN of 0, and its key is another than without it")
	add(c.sec == attest.Insecure, "SEC:INSECURE admits no production enclave: only what is simulated, debug or revoked. Whoever can simulate an enclave can claim every hash, so it protects nothing")
	add(c.sec == attest.Stale, "STALE admits platforms that are out of date, with the weaknesses of their advisories")
	add(c.sec == attest.Secure, "SECURE locks enclaves out of their data from each new advisory until their platform is patched")
	if c.expire != nil {
		add(c.expire.Months <= 0 && c.expire.Days <= 0, "nothing is younger than "+c.expire.String()+": nobody is admitted")
		add(true, "the time of an attestation is the issue date of the collateral, about a month at most, and not that of the quote")
	}
	return all
}

// simulated reports whether a signer is one that nobody needs a key for.
func (c Constraint) simulated() bool {
	for _, h := range c.signers {
		if strings.Trim(string(h), "0") == "" {
			return true
		}
	}
	return false
}
