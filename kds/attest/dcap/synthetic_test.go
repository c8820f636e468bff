package dcap_test

import (
	"slices"
	"testing"

	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/attest/dcap"
	"github.com/coffer-fs/coffer/kds/attest/dcap/dcaptest"
)

// verify makes a quote of m and verifies it with m's root and clock.
func verify(m *dcaptest.Machine) (dcap.Verdict, error) {
	o := m.Options()
	quote, c := m.Make(&o)
	return dcap.New(o).Quote(ctx, quote, c)
}

// Each pair of statuses of platform and quoting enclave, and what both are
// worth together.
func TestStatuses(t *testing.T) {
	const (
		secure, stale, insecure = attest.Secure, attest.Stale, attest.Insecure
	)
	for _, c := range []struct {
		platform, qe string
		want         dcap.Status
		level        attest.Level
	}{
		{"UpToDate", "UpToDate", dcap.UpToDate, secure},
		{"SWHardeningNeeded", "UpToDate", dcap.SWHardeningNeeded, stale},
		{"ConfigurationNeeded", "UpToDate", dcap.ConfigurationNeeded, stale},
		{"ConfigurationAndSWHardeningNeeded", "UpToDate", dcap.ConfigurationAndSWHardeningNeeded, stale},
		{"OutOfDate", "UpToDate", dcap.OutOfDate, stale},
		{"OutOfDateConfigurationNeeded", "UpToDate", dcap.OutOfDateConfigurationNeeded, stale},
		{"Revoked", "UpToDate", dcap.Revoked, insecure},
		{"UpToDate", "OutOfDate", dcap.OutOfDate, stale},
		{"SWHardeningNeeded", "OutOfDate", dcap.OutOfDate, stale},
		{"ConfigurationNeeded", "OutOfDate", dcap.OutOfDateConfigurationNeeded, stale},
		{"ConfigurationAndSWHardeningNeeded", "OutOfDate", dcap.OutOfDateConfigurationNeeded, stale},
		{"OutOfDate", "OutOfDate", dcap.OutOfDate, stale},
		{"OutOfDateConfigurationNeeded", "OutOfDate", dcap.OutOfDateConfigurationNeeded, stale},
		{"Revoked", "OutOfDate", dcap.Revoked, insecure},
		{"UpToDate", "Revoked", dcap.Revoked, insecure},
		{"OutOfDateConfigurationNeeded", "Revoked", dcap.Revoked, insecure},
		{"UpToDate", "SWHardeningNeeded", dcap.SWHardeningNeeded, stale},
		{"SWHardeningNeeded", "ConfigurationNeeded", dcap.ConfigurationAndSWHardeningNeeded, stale},
	} {
		m := dcaptest.New()
		m.TCBInfo["tcbLevels"] = []any{dcaptest.Level(5, 13, c.platform, "INTEL-SA-1", "INTEL-SA-2")}
		m.QE["tcbLevels"] = []any{dcaptest.QELevel(8, c.qe, "INTEL-SA-2", "INTEL-SA-3")}
		v, err := verify(m)
		if err != nil || v.Status != c.want || v.Identity.Level != c.level || v.PlatformStatus.String() != c.platform || v.QEStatus.String() != c.qe {
			t.Errorf("%s and %s: %s %s, %v", c.platform, c.qe, v.Status, v.Identity.Level, err)
		}
		if !slices.Equal(v.Advisories, []string{"INTEL-SA-1", "INTEL-SA-2", "INTEL-SA-3"}) {
			t.Errorf("advisories %v", v.Advisories)
		}
		m.Quoted.Report[dcaptest.OffsetAttributes] |= 2
		if v, err = verify(m); err != nil || v.Identity.Level != attest.Insecure || v.Identity.Mode != attest.Debug || v.Status != c.want {
			t.Errorf("debug: %+v, %v", v.Identity, err)
		}
	}
}

// A status that nobody set is no status, has no level, and makes none.
func TestZeroStatus(t *testing.T) {
	var zero dcap.Status
	if zero.Level().Valid() || dcap.Merge(zero, dcap.UpToDate) != 0 || dcap.Merge(dcap.UpToDate, zero) != 0 || zero.String() != "invalid status 0" {
		t.Error(zero)
	}
	if high := dcap.Revoked + 1; high.Level().Valid() {
		t.Error(high)
	}
	if (dcap.Verdict{}).Identity.Check() == nil {
		t.Error("the zero verdict has an identity")
	}
}

// A platform has the first level that it reaches in every component.
func TestLevels(t *testing.T) {
	for _, c := range []struct {
		first, last, pceSVN, qeSVN int
		want                       dcap.Status
	}{
		{5, 5, 13, 8, dcap.UpToDate},
		{255, 5, 65535, 65535, dcap.UpToDate},
		{4, 5, 13, 8, dcap.OutOfDate},
		{5, 4, 13, 8, dcap.OutOfDate},
		{5, 5, 12, 8, dcap.OutOfDate},
		{5, 5, 13, 7, dcap.OutOfDate},
		{3, 3, 11, 6, dcap.OutOfDate},
	} {
		m := dcaptest.New()
		m.Platform.Components[0], m.Platform.Components[5], m.Platform.PCESVN = c.first, c.last, c.pceSVN
		m.Quoted.QEReport[dcaptest.OffsetSVN], m.Quoted.QEReport[dcaptest.OffsetSVN+1] = byte(c.qeSVN), byte(c.qeSVN>>8)
		if v, err := verify(m); err != nil || v.Status != c.want {
			t.Errorf("%+v: %s, %v", c, v.Status, err)
		}
	}
}

// Version 4 says the same in other words.
func TestVersion4(t *testing.T) {
	m := dcaptest.New()
	three, err := verify(m)
	if err != nil {
		t.Fatal(err)
	}
	m.Quoted.Version = 4
	if four, err := verify(m); err != nil || four.Identity != three.Identity || four.Status != dcap.UpToDate {
		t.Errorf("%+v, %v", four, err)
	}
}

// TCB info of version 2 names each component.
func TestTCBInfo2(t *testing.T) {
	m := dcaptest.New()
	tcbInfo2(m)
	if v, err := verify(m); err != nil || v.Status != dcap.UpToDate {
		t.Errorf("%s, %v", v.Status, err)
	}
	m.Platform.Components[15] = 0
	level2(m)["sgxtcbcomp16svn"] = 1
	_, err := verify(m)
	refused(t, "component 16", err, dcap.ErrTCB, "reach none of 1 levels")
}

// tcbInfo2 gives m TCB info of version 2 with one level.
func tcbInfo2(m *dcaptest.Machine) {
	fields := map[string]any{"pcesvn": 13}
	for i := range 16 {
		fields["sgxtcbcomp"+string(rune('0'+(i+1)/10))+string(rune('0'+(i+1)%10))+"svn"] = m.Platform.Components[i]
	}
	m.TCBInfo["version"] = 2
	delete(m.TCBInfo, "id")
	m.TCBInfo["tcbLevels"] = []any{map[string]any{"tcb": fields, "tcbStatus": "UpToDate"}}
}

func level2(m *dcaptest.Machine) map[string]any {
	return m.TCBInfo["tcbLevels"].([]any)[0].(map[string]any)["tcb"].(map[string]any)
}

// The identity is that of the report; its time is the older statement's.
func TestIdentity(t *testing.T) {
	m := dcaptest.New()
	v, err := verify(m)
	want := attest.Identity{CodeHash: hash("AA"), SignerHash: hash("BB"), ProductID: 1, RevocationLevel: 2,
		Level: attest.Secure, Mode: attest.Release, Timestamp: m.Now.AddDate(0, 0, -5)}
	if err != nil || v.Identity != want || !v.Issued.Equal(want.Timestamp) || !v.Until.Equal(m.Now.AddDate(0, 0, 20)) {
		t.Errorf("%+v, %v", v, err)
	}
	if v.Platform.CA != dcap.ProcessorCA || v.Platform.FMSPC.String() != "0090C06F0000" || v.TCBNumber != 17 || v.QENumber != 17 {
		t.Errorf("%+v", v)
	}
	m.Quoted.Report[dcaptest.OffsetSVN] = 0
	m.TCBInfo["issueDate"] = m.Date(-2)
	if v, err = verify(m); err != nil || v.Identity.RevocationLevel != -1 || !v.Issued.Equal(m.Now.AddDate(0, 0, -4)) {
		t.Errorf("%+v, %v", v.Identity, err)
	}
}

func hash(two string) (h attest.Hash) {
	for range 32 {
		h += attest.Hash(two)
	}
	return h
}
