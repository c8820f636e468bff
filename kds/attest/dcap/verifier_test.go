package dcap_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/attest/dcap"
	"github.com/coffer-fs/coffer/kds/attest/dcap/dcaptest"
)

func listDated(from, until time.Time) func(*x509.RevocationList) {
	return func(l *x509.RevocationList) { l.ThisUpdate, l.NextUpdate = from, until }
}

// Evidence of both formats gives the same report.
func TestFormats(t *testing.T) {
	m := dcaptest.New()
	m.Quoted.SetData(attest.ReportData{1, 2, 3})
	o := m.Options()
	quote, c := m.Make(&o)
	want, err := dcap.New(o).Quote(ctx, quote, c)
	if err != nil {
		t.Fatal(err)
	}
	e, err := dcap.Evidence(quote, c)
	if err != nil {
		t.Fatal(err)
	}
	got, err := dcap.New(o).Verify(ctx, e)
	if err != nil || got != want.Report || got.ReportData != (attest.ReportData{1, 2, 3}) {
		t.Errorf("%+v, %v", got, err)
	}
	source := &source{c: c}
	o.Source = source
	bare := attest.Evidence{Format: attest.FormatOpenEnclave, Data: openEnclave(1, 2, uint64(len(quote)), quote)}
	if got, err = dcap.New(o).Verify(ctx, bare); err != nil || got != want.Report {
		t.Errorf("%+v, %v", got, err)
	}
	if source.asked != (dcap.Platform{FMSPC: m.Platform.FMSPC, CA: dcap.ProcessorCA}) {
		t.Errorf("the source was asked for %+v", source.asked)
	}
}

// source gives what it has.
type source struct {
	c     dcap.Collateral
	err   error
	asked dcap.Platform
}

func (s *source) Collateral(_ context.Context, p dcap.Platform) (dcap.Collateral, error) {
	s.asked = p
	return s.c, s.err
}

func openEnclave(version, kind uint32, size uint64, quote []byte) []byte {
	b := binary.LittleEndian.AppendUint32(nil, version)
	b = binary.LittleEndian.AppendUint32(b, kind)
	return append(binary.LittleEndian.AppendUint64(b, size), quote...)
}

func TestRefusedFormats(t *testing.T) {
	m, quote, v := world(nil)
	_, c := m.Make(nil)
	e, err := dcap.Evidence(quote, c)
	if err != nil {
		t.Fatal(err)
	}
	evidence := func(f attest.Format, data []byte) attest.Evidence { return attest.Evidence{Format: f, Data: data} }
	edit := func(i int, b byte) []byte {
		data := []byte(string(e.Data))
		data[i] ^= b
		return data
	}
	n := uint64(len(quote))
	withSource, _, _ := world(nil)
	o := withSource.Options()
	o.Source = &source{c: c}
	sourced := dcap.New(o)
	for _, r := range []struct {
		name string
		v    *dcap.Verifier
		e    attest.Evidence
		want error
		text string
	}{
		{"simulated", v, evidence(attest.FormatSim, nil), dcap.ErrQuote, `format "sim"`},
		{"empty", v, evidence(attest.FormatSGXQuote, nil), dcap.ErrQuote, "evidence ends before its part 0"},
		{"cut", v, evidence(attest.FormatSGXQuote, e.Data[:len(e.Data)-1]), dcap.ErrQuote, "evidence ends before its part 11"},
		{"one byte more", v, evidence(attest.FormatSGXQuote, append(e.Data[:len(e.Data):len(e.Data)], 0)), dcap.ErrQuote, "1 bytes follow the evidence"},
		{"another label", v, evidence(attest.FormatSGXQuote, edit(15, 1)), dcap.ErrQuote, "unknown version"},
		{"huge part", v, evidence(attest.FormatSGXQuote, edit(27, 0x80)), dcap.ErrQuote, "ends before its part 1"},
		{"too large", v, evidence(attest.FormatSGXQuote, make([]byte, attest.MaxEvidenceSize+1)), dcap.ErrQuote, "at most 65536 are read"},
		{"no source", v, evidence(attest.FormatOpenEnclave, openEnclave(1, 2, n, quote)), dcap.ErrCollateral, "there is no source of it"},
		{"no header", sourced, evidence(attest.FormatOpenEnclave, make([]byte, 16)), dcap.ErrQuote, "16 bytes hold no Open Enclave header"},
		{"header of version 2", sourced, evidence(attest.FormatOpenEnclave, openEnclave(2, 2, n, quote)), dcap.ErrQuote, "version 2, kind 2"},
		{"local report", sourced, evidence(attest.FormatOpenEnclave, openEnclave(1, 1, n, quote)), dcap.ErrQuote, "version 1, kind 1"},
		{"another size", sourced, evidence(attest.FormatOpenEnclave, openEnclave(1, 2, 1<<63, quote)), dcap.ErrQuote, "size 9223372036854775808"},
		{"platform of another root", sourced, evidence(attest.FormatOpenEnclave, openEnclave(1, 2, n, quote)), dcap.ErrRoot, "root"},
	} {
		got, err := r.v.Verify(ctx, r.e)
		refused(t, r.name, err, r.want, r.text)
		if got != (attest.Report{}) {
			t.Errorf("%s: %+v", r.name, got)
		}
	}
	if o.Source.(*source).asked != (dcap.Platform{}) {
		t.Error("the source was asked for a platform that nobody knows")
	}
}

// A source that fails is not the evidence's fault.
func TestSourceFails(t *testing.T) {
	down := errors.New("down")
	_, quote, v := world(func(o *dcap.Options) { o.Source = &source{err: down} })
	_, err := v.Verify(ctx, attest.Evidence{Format: attest.FormatOpenEnclave, Data: openEnclave(1, 2, uint64(len(quote)), quote)})
	if !errors.Is(err, down) || errors.Is(err, attest.ErrEvidence) {
		t.Error(err)
	}
}

func TestEvidenceTooLarge(t *testing.T) {
	_, err := dcap.Evidence(make([]byte, attest.MaxEvidenceSize), dcap.Collateral{})
	refused(t, "evidence", err, dcap.ErrCollateral, "at most 65536 are read")
}

// Collateral is the same after JSON.
func TestCollateralJSON(t *testing.T) {
	c, _ := sample(t)
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	again, err := dcap.ParseCollateral(text)
	if err != nil || !reflect.DeepEqual(again, c) {
		t.Errorf("%v", err)
	}
	for name, text := range map[string]string{
		"":                    "malformed JSON",
		`{"tcb_info":1}`:      "malformed JSON",
		`{"tcb_inf":"x"}`:     `unknown field "tcb_inf"`,
		`{"pck_crl":"0"}`:     "not hexadecimal",
		`{"pck_crl":null}`:    "null",
		`{"tcb_info":""}more`: "malformed JSON",
		strings.Repeat(" ", dcap.MaxCollateralBytes) + "{}": "at most 262144 are read",
	} {
		_, err := dcap.ParseCollateral([]byte(name))
		refused(t, name[:min(len(name), 20)], err, dcap.ErrCollateral, text)
	}
}

// What was verified is kept by its bytes, so much and no more, and never what
// depends on time.
func TestCache(t *testing.T) {
	m, _, v := world(nil)
	for range dcap.MaxMachines + 2 {
		quote, c := m.Make(nil)
		for range 2 {
			if _, err := v.Quote(ctx, quote, c); err != nil {
				t.Fatal(err)
			}
		}
	}
	if chains, keys, collateral := v.Cached(); chains != dcap.MaxMachines || keys != dcap.MaxMachines || collateral != dcap.MaxCollateral {
		t.Errorf("%d chains, %d keys and %d collateral are kept", chains, keys, collateral)
	}
	quote, c := m.Make(nil)
	if _, err := v.Quote(ctx, quote, c); err != nil {
		t.Fatal(err)
	}
	// All that vouches for the quote is known now, and a bit of it that is another
	// (of the header, the report, the signatures, the key) is seen all the same.
	for at := range 48 + 384 + 4 + 64 + 64 + 384 + 64 {
		bad := bytes.Clone(quote)
		bad[at] ^= 1
		if _, err := v.Quote(ctx, bad, c); err == nil {
			t.Fatalf("byte %d is another, and the quote is accepted", at)
		}
	}
	m.Now = m.Now.AddDate(0, 0, 26)
	_, err := v.Quote(ctx, quote, c)
	refused(t, "a month later", err, dcap.ErrDate, "")
}

func BenchmarkQuote(b *testing.B) {
	v := vectors(b)[0]
	b.Run("nothing cached", func(b *testing.B) {
		for b.Loop() {
			if _, err := v.verifier(v.at).Quote(ctx, v.quote, v.c); err != nil {
				b.Fatal(err)
			}
		}
	})
	verifier := v.verifier(v.at)
	b.Run("cached", func(b *testing.B) {
		for b.Loop() {
			if _, err := verifier.Quote(ctx, v.quote, v.c); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// The bytes of evidence are the table in docs/protocol.md, for ever.
func TestEvidenceBytes(t *testing.T) {
	c := dcap.Collateral{PCKChain: "b", PCKCRLIssuerChain: "c", RootCACRL: dcap.Hex("d"), PCKCRL: dcap.Hex("e"),
		TCBInfoIssuerChain: "f", TCBInfo: "g", TCBInfoSignature: dcap.Hex("h"),
		QEIdentityIssuerChain: "i", QEIdentity: "j", QEIdentitySignature: dcap.Hex("k")}
	e, err := dcap.Evidence([]byte("a"), c)
	want := "\x00\x00\x00\x17coffer/dcap/v1/evidence"
	for _, part := range "abcdefghijk" {
		want += "\x00\x00\x00\x01" + string(part)
	}
	if err != nil || string(e.Data) != want || e.Format != attest.FormatSGXQuote {
		t.Errorf("%q, %v", e.Data, err)
	}
}
