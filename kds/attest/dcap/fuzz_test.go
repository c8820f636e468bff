package dcap_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"

	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/attest/dcap"
	"github.com/coffer-fs/coffer/kds/attest/dcap/dcaptest"
)

// Whatever the bytes, a quote is read or refused; and no byte of a right one
// can be another without being refused, but for space around its chain.
func FuzzQuote(f *testing.F) {
	for _, v := range vectors(f) {
		f.Add(v.quote)
	}
	f.Add(read(f, "oasis-sgx/quote_v3_ecdsa_p256_eppid.bin"))
	m := dcaptest.New()
	m.Quoted.Version = 4
	four, _ := m.Make(nil)
	f.Add(four)
	v := vectors(f)[0]
	verifier := v.verifier(v.at)
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := dcap.ParseQuote(b); err != nil && !errors.Is(err, dcap.ErrQuote) {
			t.Error(err)
		}
		got, err := verifier.Quote(ctx, b, v.c)
		if err != nil {
			if !errors.Is(err, attest.ErrEvidence) || got.Status != 0 {
				t.Error(got, err)
			}
			return
		}
		for _, known := range vectors(t)[:2] {
			if bytes.Equal(b[:432], known.quote[:432]) {
				return
			}
		}
		t.Errorf("a quote that nobody made is believed: %s", got.Identity)
	})
}

// Collateral in JSON and in evidence, and the texts in it.
func FuzzCollateral(f *testing.F) {
	v := vectors(f)[0]
	e, err := dcap.Evidence(v.quote, v.c)
	if err != nil {
		f.Fatal(err)
	}
	text, err := json.Marshal(v.c)
	if err != nil {
		f.Fatal(err)
	}
	own, _ := sample(f)
	for _, seed := range [][]byte{e.Data, text, []byte(v.c.TCBInfo), []byte(v.c.QEIdentity), []byte(own.TCBInfo), v.c.PCKCRL, []byte(v.c.TCBInfoIssuerChain)} {
		f.Add(seed)
	}
	verifier := v.verifier(v.at)
	f.Fuzz(func(t *testing.T, b []byte) {
		if quote, c, err := dcap.ParseEvidence(b); err == nil {
			again, err := dcap.Evidence(quote, c)
			if err != nil || !bytes.Equal(again.Data, b) {
				t.Error("evidence is not the same again")
			}
		}
		if c, err := dcap.ParseCollateral(b); err == nil {
			check(t, verifier, v, c)
		}
		_, _ = dcap.ReadTCBInfo(b), dcap.ReadQEIdentity(b)
		for _, put := range []func(*dcap.Collateral){
			func(c *dcap.Collateral) { c.PCKCRL = b },
			func(c *dcap.Collateral) { c.TCBInfoIssuerChain = string(b) },
			func(c *dcap.Collateral) { c.TCBInfo = string(b) },
		} {
			c := v.c
			put(&c)
			check(t, verifier, v, c)
		}
	})
}

func check(t *testing.T, verifier *dcap.Verifier, v vector, c dcap.Collateral) {
	if got, err := verifier.Quote(ctx, v.quote, c); err == nil && got.Status != v.status || err != nil && !errors.Is(err, attest.ErrEvidence) {
		t.Error(got, err)
	}
}

func FuzzExtension(f *testing.F) {
	m := dcaptest.New()
	f.Add(dcaptest.Encode(m.Platform.Attributes()).FullBytes)
	f.Add([]byte{0x30, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		fmspc, pceID, components, pceSVN, err := dcap.ParseExtension(b)
		if err == nil && len(b) < len(components)+len(fmspc)+len(pceID) {
			t.Errorf("%d bytes say %v %v %v %d", len(b), fmspc, pceID, components, pceSVN)
		}
		if err != nil && !errors.Is(err, dcap.ErrCertificate) {
			t.Error(err)
		}
	})
}
