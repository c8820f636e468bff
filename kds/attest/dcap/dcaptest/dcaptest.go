// Package dcaptest is an SGX machine, and an Intel of its own, for tests.
//
// It promises quotes and collateral that a verifier with the machine's own root
// finds right, and every lie that a test asks for. Nobody else trusts it.
//
// Imported by tests only.
package dcaptest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"time"

	"github.com/coffer-fs/coffer/kds/attest/dcap"
)

// Machine is a platform and what Intel says of it. A test changes fields, and
// then makes quotes and collateral.
type Machine struct {
	Now  time.Time // all dates are around it
	Keys Keys
	// RootCert is the root. Default a new one for each Make.
	RootCert *x509.Certificate

	// Edit changes certificates before they are signed, by role: "root", "ca",
	// "pck", "tcb". SignedBy has another signer's key for a role.
	Edit     map[string]func(*x509.Certificate)
	SignedBy map[string]*ecdsa.PrivateKey

	Platform Platform
	TCBInfo  map[string]any     // the JSON
	QE       map[string]any     // the JSON
	Revoked  map[string][]int64 // serial numbers by list: "root", "ca"
	// EditList changes a list before it is signed, "root" or "ca".
	EditList map[string]func(*x509.RevocationList)
	// EditCollateral changes what was signed.
	EditCollateral func(*dcap.Collateral)

	Quoted Quoted
}

// Keys are everybody's.
type Keys struct{ Root, CA, PCK, TCB, Attestation *ecdsa.PrivateKey }

// Platform is what the PCK certificate says.
type Platform struct {
	FMSPC      [6]byte
	PCEID      [2]byte
	Components [16]int
	PCESVN     int
	// Extension is the whole extension instead. Default the above.
	Extension []byte
}

// Serial numbers of the certificates.
const (
	SerialRoot = iota + 1
	SerialCA
	SerialPCK
	SerialTCB
)

var keys = Keys{NewKey(), NewKey(), NewKey(), NewKey(), NewKey()}

// NewKey is a new key of the kind that everybody has.
func NewKey() *ecdsa.PrivateKey {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	return k
}

// All are all of them.
func (k *Keys) All() []**ecdsa.PrivateKey {
	return []**ecdsa.PrivateKey{&k.Root, &k.CA, &k.PCK, &k.TCB, &k.Attestation}
}

// New is a machine that is up to date.
func New() *Machine { return NewAt(time.Date(2026, 1, 15, 12, 0, 0, 0, time.UTC)) }

// NewAt is New at another time.
func NewAt(now time.Time) *Machine {
	m := &Machine{Now: now, Keys: keys,
		Edit: map[string]func(*x509.Certificate){}, SignedBy: map[string]*ecdsa.PrivateKey{},
		Revoked: map[string][]int64{}, EditList: map[string]func(*x509.RevocationList){},
		Platform: Platform{FMSPC: [6]byte{0, 0x90, 0xc0, 0x6f}, Components: [16]int{5, 5, 5, 5, 5, 5}, PCESVN: 13},
		Quoted:   newQuoted()}
	m.TCBInfo = m.tcbInfo()
	m.QE = m.qeIdentity()
	return m
}

// Options trust the machine's root and have its clock.
func (m *Machine) Options() dcap.Options {
	return dcap.Options{Roots: []*x509.Certificate{m.Root()}, Now: func() time.Time { return m.Now }}
}

// must ends a test that cannot be set up.
func must(err error) {
	if err != nil {
		panic("dcaptest: " + err.Error())
	}
}
