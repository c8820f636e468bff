package dcap_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/attest/dcap"
	"github.com/coffer-fs/coffer/kds/attest/dcap/dcaptest"
)

// dated is collateral of m, issued days ago under a number.
func dated(m *dcaptest.Machine, days int, number int) dcap.Collateral {
	for _, s := range []map[string]any{m.TCBInfo, m.QE} {
		s["issueDate"], s["tcbEvaluationDataNumber"] = m.Date(-days), number
	}
	_, c := m.Make(nil)
	return c
}

// world is a machine with one root for all that it makes, a quote, and a
// verifier with its clock.
func world(change func(*dcap.Options)) (*dcaptest.Machine, []byte, *dcap.Verifier) {
	m := dcaptest.New()
	m.RootCert = m.Root()
	o := m.Options()
	if change != nil {
		change(&o)
	}
	quote, _ := m.Make(nil)
	return m, quote, dcap.New(o)
}

// K08: collateral older than the newest seen is refused, though it has not
// expired: by its date, or by its number.
func TestK08_OldCollateralThanSeen(t *testing.T) {
	m, quote, v := world(nil)
	older, newest := dated(m, 5, 17), dated(m, 3, 18)
	lower := dated(m, 2, 17)
	for _, c := range []dcap.Collateral{older, newest, newest} {
		if _, err := v.Quote(ctx, quote, c); err != nil {
			t.Fatal(err)
		}
	}
	_, err := v.Quote(ctx, quote, older)
	refused(t, "older", err, dcap.ErrOlder, "TCB info of 0090C06F0000 was issued at 2026-01-10T12:00:00Z, and one of 2026-01-12T12:00:00Z was seen")
	_, err = v.Quote(ctx, quote, lower)
	refused(t, "lower number", err, dcap.ErrOlder, "TCB info of 0090C06F0000 has evaluation data number 17, and 18 was seen")
	mixed := newest
	mixed.QEIdentity, mixed.QEIdentitySignature = older.QEIdentity, older.QEIdentitySignature
	_, err = v.Quote(ctx, quote, mixed)
	refused(t, "older QE identity", err, dcap.ErrOlder, "QE identity was issued")
}

// K08: a revocation list from before a revocation is refused.
func TestK08_OldCollateralList(t *testing.T) {
	for _, which := range []string{"root", "ca"} {
		m, quote, v := world(nil)
		_, before := m.Make(nil)
		m.Revoked[which] = []int64{99}
		m.EditList[which] = listDated(m.Now.AddDate(0, 0, -1), m.Now.AddDate(0, 0, 9))
		_, after := m.Make(nil)
		if _, err := v.Quote(ctx, quote, before); err != nil {
			t.Fatal(err)
		}
		if _, err := v.Quote(ctx, quote, after); err != nil {
			t.Fatal(err)
		}
		_, err := v.Quote(ctx, quote, before)
		refused(t, which, err, dcap.ErrOlder, "revocation list of")
	}
}

// K08: a host that sets its clock back, to when its collateral was valid, is
// found by the dates that were seen.
func TestK08_OldCollateralAndClock(t *testing.T) {
	m, quote, v := world(nil)
	if _, err := v.Quote(ctx, quote, dated(m, 1, 17)); err != nil {
		t.Fatal(err)
	}
	old := dated(m, 40, 17)
	m.Now = m.Now.AddDate(0, 0, -30)
	_, err := v.Quote(ctx, quote, old)
	if want := "the clock says 2025-12-16T12:00:00Z, and collateral of 2026-01-14T12:00:00Z was seen"; !errors.Is(err, attest.ErrUnavailable) ||
		errors.Is(err, attest.ErrEvidence) || !strings.Contains(err.Error(), want) {
		t.Errorf("clock set back: %v", err)
	}
}

// K08: expired collateral is refused, whatever was seen.
func TestK08_OldCollateralExpired(t *testing.T) {
	m, quote, v := world(nil)
	c := dated(m, 5, 17)
	m.Now = m.Now.AddDate(0, 0, 26)
	_, err := v.Quote(ctx, quote, c)
	refused(t, "expired", err, dcap.ErrDate, "was valid until")
}

// K08: the operator's floor counts for both statements.
func TestK08_OldCollateralFloor(t *testing.T) {
	m, quote, v := world(func(o *dcap.Options) { o.MinEvaluationNumber = 17 })
	if _, err := v.Quote(ctx, quote, dated(m, 5, 17)); err != nil {
		t.Fatal(err)
	}
	_, err := v.Quote(ctx, quote, dated(m, 1, 16))
	refused(t, "TCB info", err, dcap.ErrOlder, "TCB info of 0090C06F0000 has evaluation data number 16, want 17 or more")
	m.TCBInfo["tcbEvaluationDataNumber"] = 17
	_, c := m.Make(nil)
	_, err = v.Quote(ctx, quote, c)
	refused(t, "QE identity", err, dcap.ErrOlder, "QE identity has evaluation data number 16, want 17 or more")
}

// What is refused moves nothing.
func TestMemoryOfRefusals(t *testing.T) {
	m, quote, v := world(nil)
	older, newer := dated(m, 5, 17), dated(m, 1, 18)
	newer.PCKCRL = older.RootCACRL
	if _, err := v.Quote(ctx, quote, newer); !errors.Is(err, dcap.ErrCollateral) {
		t.Fatal(err)
	}
	m.Quoted.Signer = dcaptest.NewKey()
	m.TCBInfo["tcbEvaluationDataNumber"] = 19
	forged, c := m.Make(nil)
	if _, err := v.Quote(ctx, forged, c); !errors.Is(err, dcap.ErrSignature) {
		t.Fatal(err)
	}
	if _, err := v.Quote(ctx, quote, older); err != nil {
		t.Error(err)
	}
}

// Marks are kept all or none, and there are so many and no more.
func TestMemory(t *testing.T) {
	m := dcap.NewMemory()
	day := func(n int) time.Time { return time.Unix(int64(n)*86400, 0) }
	if newest, err := m.Newest(ctx); err != nil || !newest.IsZero() {
		t.Error(newest, err)
	}
	if err := m.Advance(ctx, []dcap.Mark{{Subject: "a", Issued: day(2)}, {Subject: "b", Issued: day(1), Number: 2}}); err != nil {
		t.Fatal(err)
	}
	if err := m.Advance(ctx, []dcap.Mark{{Subject: "a", Issued: day(3)}, {Subject: "b", Issued: day(1), Number: 1}}); !errors.Is(err, dcap.ErrOlder) {
		t.Fatal(err)
	}
	if newest, err := m.Newest(ctx); err != nil || !newest.Equal(day(2)) {
		t.Error("a refused mark was kept:", newest, err)
	}
	var many []dcap.Mark
	for i := range dcap.MaxSubjects - 2 {
		many = append(many, dcap.Mark{Subject: string(rune(0x4e00 + i))})
	}
	if err := m.Advance(ctx, many); err != nil {
		t.Fatal(err)
	}
	if err := m.Advance(ctx, []dcap.Mark{{Subject: "one more"}}); err == nil || errors.Is(err, attest.ErrEvidence) {
		t.Error("full memory:", err)
	}
	if err := m.Advance(ctx, []dcap.Mark{{Subject: "a", Issued: day(9)}}); err != nil {
		t.Error(err)
	}
}

// broken is a memory whose disk is.
type broken struct{ read, write error }

func (b broken) Newest(context.Context) (time.Time, error)  { return time.Time{}, b.read }
func (b broken) Advance(context.Context, []dcap.Mark) error { return b.write }

// Without its memory a verifier believes nothing, and does not blame the
// evidence.
func TestMemoryFails(t *testing.T) {
	disk := errors.New("disk")
	for _, memory := range []broken{{read: disk}, {write: disk}} {
		m, quote, v := world(func(o *dcap.Options) { o.Memory = memory })
		if _, err := v.Quote(ctx, quote, dated(m, 1, 17)); !errors.Is(err, disk) || errors.Is(err, attest.ErrEvidence) {
			t.Error(err)
		}
	}
}

// Many at once, with old and new collateral: what is newest only grows.
func TestMemoryAtOnce(t *testing.T) {
	m, quote, v := world(nil)
	older, newer := dated(m, 5, 17), dated(m, 1, 18)
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			c := older
			if i%2 == 1 {
				c = newer
			}
			if _, err := v.Quote(ctx, quote, c); err != nil && !errors.Is(err, dcap.ErrOlder) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if _, err := v.Quote(ctx, quote, older); !errors.Is(err, dcap.ErrOlder) {
		t.Error(err)
	}
}
