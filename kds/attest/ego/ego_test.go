package ego_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/edgelesssys/ego/attestation/tcbstatus"

	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/attest/ego"
	"github.com/coffer-fs/coffer/kds/policy"
)

func evidence(quote string) []byte {
	b := binary.LittleEndian.AppendUint32(nil, 1)
	b = binary.LittleEndian.AppendUint32(b, 2)
	b = binary.LittleEndian.AppendUint64(b, uint64(len(quote)))
	return append(b, quote...)
}

func hardware() *ego.FakeHardware {
	return &ego.FakeHardware{
		CodeHash: bytes.Repeat([]byte{0xaa}, 32), Signer: bytes.Repeat([]byte{0xbb}, 32), Product: append([]byte{12, 1}, make([]byte, 14)...),
		SVN: 4, Seal: []byte("sixteen byte key"), Quoted: evidence("quote"), Data: bytes.Repeat([]byte{7}, 64),
	}
}

// This test runs in no enclave, so Open must say so.
func TestOpenOutsideAnEnclave(t *testing.T) {
	if p, err := ego.Open(); p != nil || !errors.Is(err, attest.ErrNoEnclave) {
		t.Errorf("got %v, %v", p, err)
	}
}

// The trap: outside an enclave EGo gives 16 zero bytes and no error. Whatever
// else looks like an enclave, they are refused.
func TestZeroSealKey(t *testing.T) {
	for _, p := range []attest.SealPolicy{attest.SealToSigner, attest.SealToCode} {
		k, err, built := ego.NativeSealKey(p)
		if built && (err != nil || !bytes.Equal(k, make([]byte, 16))) {
			t.Errorf("EGo has changed: it gives %x, %v outside an enclave", k, err)
		}
	}
	for name, seal := range map[string][]byte{"EGo's own": nil, "zeros": make([]byte, 16), "short": []byte("short"), "long": make([]byte, 32)} {
		h := hardware()
		h.Seal = seal
		if _, err := ego.OpenWith(h); !errors.Is(err, attest.ErrNoEnclave) || !errors.Is(err, attest.ErrSeal) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The trap: the zero value of EGo's status is UpToDate.
func TestZeroStatus(t *testing.T) {
	if tcbstatus.Status(0) != tcbstatus.UpToDate {
		t.Error("EGo has changed: its zero status is no longer UpToDate")
	}
	if l := ego.Status(0).Level(); l.Valid() {
		t.Errorf("the zero status has level %v", l)
	}
	if s, err := ego.StatusOf(0, false, ego.ErrFake); err == nil || s.Level().Valid() {
		t.Errorf("a status beside an error: %v, %v", s, err)
	}
	if s, err := ego.StatusOf(0, true, nil); err != nil || s.Level() != attest.Insecure {
		t.Errorf("up to date and not up to date at once: %v, %v", s, err)
	}
	if s, err := ego.StatusOf(99, false, nil); err == nil || s.Level().Valid() {
		t.Errorf("an unknown status: %v, %v", s, err)
	}
}

func TestLevels(t *testing.T) {
	for s, want := range map[tcbstatus.Status]attest.Level{
		tcbstatus.UpToDate: attest.Secure, tcbstatus.SWHardeningNeeded: attest.Stale, tcbstatus.ConfigurationNeeded: attest.Stale,
		tcbstatus.ConfigurationAndSWHardeningNeeded: attest.Stale, tcbstatus.OutOfDate: attest.Stale,
		tcbstatus.OutOfDateConfigurationNeeded: attest.Stale, tcbstatus.Revoked: attest.Insecure, tcbstatus.Unknown: attest.Insecure,
	} {
		h := hardware()
		h.TCB, h.NotUpToDate = s, s != tcbstatus.UpToDate
		p, err := ego.OpenWith(h)
		if err != nil {
			t.Fatal(err)
		}
		r, err := ego.NewVerifier(p, nil).Verify(context.Background(), attest.Evidence{Format: attest.FormatOpenEnclave, Data: evidence("q")})
		if err != nil || r.Identity.Level != want || r.Identity.Mode != attest.Release || r.ReportData[63] != 7 {
			t.Errorf("%v: %v, %v, want %v", s, r.Identity, err, want)
		}
		h.Debug = true
		r, err = ego.NewVerifier(p, nil).Verify(context.Background(), attest.Evidence{Format: attest.FormatOpenEnclave, Data: evidence("q")})
		if err != nil || r.Identity.Level != attest.Insecure || r.Identity.Mode != attest.Debug {
			t.Errorf("debug and %v: %v, %v", s, r.Identity, err)
		}
	}
}

func TestIdentity(t *testing.T) {
	p, err := ego.OpenWith(hardware())
	if err != nil {
		t.Fatal(err)
	}
	id, err := p.Self()
	if err != nil || id.CodeHash != attest.Hash(strings.Repeat("A", 64)) || id.SignerHash != attest.Hash(strings.Repeat("B", 64)) ||
		id.ProductID != 0x10c || id.RevocationLevel != 3 || id.Level != attest.Insecure || p.Mode() != attest.Release {
		t.Errorf("%v, %v", id, err)
	}
	for name, change := range map[string]func(*ego.FakeHardware){
		"no report":     func(h *ego.FakeHardware) { h.SelfErr = ego.ErrFake },
		"no code hash":  func(h *ego.FakeHardware) { h.CodeHash = nil },
		"zero code":     func(h *ego.FakeHardware) { h.CodeHash = make([]byte, 32) },
		"zero signer":   func(h *ego.FakeHardware) { h.Signer = make([]byte, 32) },
		"short product": func(h *ego.FakeHardware) { h.Product = []byte{1} },
		"wide product":  func(h *ego.FakeHardware) { h.Product[3] = 1 },
		"wide version":  func(h *ego.FakeHardware) { h.SVN = 1 << 16 },
	} {
		h := hardware()
		change(h)
		if _, err := ego.OpenWith(h); !errors.Is(err, attest.ErrNoEnclave) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Info from the host cannot ask for a key that others may have.
func TestKeyInfo(t *testing.T) {
	p, err := ego.OpenWith(hardware())
	if err != nil {
		t.Fatal(err)
	}
	fresh, info, err := p.SealKey(attest.SealToSigner, nil)
	if err != nil || !bytes.Equal(info, ego.KeyInfo(attest.SealToSigner)) {
		t.Fatal(info, err)
	}
	if again, _, err := p.SealKey(attest.SealToSigner, info); err != nil || !again.Equal(fresh) {
		t.Errorf("with its info another key is given: %v", err)
	}
	other := bytes.Clone(info)
	other[50] = 9 // another key ID
	if k, kept, err := p.SealKey(attest.SealToSigner, other); err != nil || k.Equal(fresh) || !bytes.Equal(kept, other) {
		t.Errorf("another key ID: %v", err)
	}
	free := map[int]bool{4: true, 5: true}
	for i := 8; i < 24; i++ {
		free[i] = true
	}
	for i := 40; i < 72; i++ {
		free[i] = true
	}
	for i := range info {
		b := bytes.Clone(info)
		b[i] ^= 1
		if _, _, err := p.SealKey(attest.SealToSigner, b); errors.Is(err, attest.ErrSeal) == free[i] {
			t.Errorf("byte %d changed: %v", i, err)
		}
	}
	for name, b := range map[string][]byte{"short": info[:511], "long": append(bytes.Clone(info), 0), "code's": ego.KeyInfo(attest.SealToCode)} {
		if _, _, err := p.SealKey(attest.SealToSigner, b); !errors.Is(err, attest.ErrSeal) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := p.SealKey(0, nil); !errors.Is(err, attest.ErrSeal) {
		t.Errorf("policy 0: %v", err)
	}
}

func TestEvidence(t *testing.T) {
	h := hardware()
	p, err := ego.OpenWith(h)
	if err != nil {
		t.Fatal(err)
	}
	e, err := p.Quote(attest.ReportData{})
	if err != nil || e.Format != attest.FormatOpenEnclave {
		t.Errorf("%v, %v", e, err)
	}
	if q, err := ego.Quote(e.Data); err != nil || string(q) != "quote" {
		t.Errorf("%q, %v", q, err)
	}
	v := ego.NewVerifier(p, nil)
	bad := map[string][]byte{"empty": nil, "header only": evidence(""), "cut": evidence("quote")[:18], "huge": evidence(strings.Repeat("q", attest.MaxEvidenceSize))}
	for i := range 16 {
		b := evidence("quote")
		b[i] ^= 1
		bad[string(rune('a'+i))+" of the header"] = b
	}
	for name, b := range bad {
		if _, err := v.Verify(context.Background(), attest.Evidence{Format: attest.FormatOpenEnclave, Data: b}); !errors.Is(err, attest.ErrEvidence) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := v.Verify(context.Background(), attest.Evidence{Format: attest.FormatSim, Data: evidence("quote")}); !errors.Is(err, attest.ErrEvidence) {
		t.Errorf("another format: %v", err)
	}
	for _, name := range []string{"OE_QUOTE_PROVIDER_CALL_ERROR", "OE_QUOTE_PROVIDER_LOAD_ERROR", "OE_SERVICE_UNAVAILABLE", "OE_VERIFY_CRL_EXPIRED"} {
		h.VerifyErr = errors.New(name)
		if _, err := v.Verify(context.Background(), attest.Evidence{Format: attest.FormatOpenEnclave, Data: evidence("quote")}); !errors.Is(err, attest.ErrUnavailable) || errors.Is(err, attest.ErrEvidence) {
			t.Errorf("no collateral: %v", err)
		}
	}
	for name, change := range map[string]func(){
		"forged":     func() { h.VerifyErr = ego.ErrFake },
		"short data": func() { h.VerifyErr, h.Data = nil, h.Data[:63] },
		"no code":    func() { h.Data, h.CodeHash = append(h.Data, 0), nil },
	} {
		change()
		if r, err := v.Verify(context.Background(), attest.Evidence{Format: attest.FormatOpenEnclave, Data: evidence("quote")}); !errors.Is(err, attest.ErrEvidence) || r.Identity.Check() == nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	h.Quoted = []byte("not evidence")
	if _, err := p.Quote(attest.ReportData{}); !errors.Is(err, attest.ErrEvidence) {
		t.Errorf("bad quote: %v", err)
	}
}

// EGo tells neither how old its collateral is nor its evaluation number: what asks for
// that is refused.
func TestWhatEGoDoesNotTell(t *testing.T) {
	p, err := ego.OpenWith(hardware())
	if err != nil {
		t.Fatal(err)
	}
	e := attest.Evidence{Format: attest.FormatOpenEnclave, Data: evidence("q")}
	least := uint32(0)
	v := ego.NewVerifier(p, func() uint32 { return least })
	r, err := v.Verify(context.Background(), e)
	if err != nil || !r.Identity.Timestamp.IsZero() {
		t.Errorf("%v, %v", r.Identity, err)
	}
	c, err := policy.Parse("S:" + strings.Repeat("B", 64) + " PROD:268 EXPIRE:P9000Y SEC:INSECURE")
	if err != nil {
		t.Fatal(err)
	}
	r.Identity.Level = attest.Insecure
	if m := c.Match(r.Identity, time.Now()); m == nil || !strings.Contains(m.Error(), "--pccs.url") {
		t.Errorf("an age that nobody knows: %v", m)
	}
	least = 1
	if _, err := v.Verify(context.Background(), e); !errors.Is(err, attest.ErrEvidence) || !strings.Contains(err.Error(), "--pccs.url") {
		t.Errorf("an evaluation number that nobody knows: %v", err)
	}
}
