package dcap

import (
	"fmt"
	"slices"
	"time"

	"github.com/coffer-fs/coffer/kds/attest"
)

// Verdict is what a verified quote says.
type Verdict struct {
	attest.Report
	// Status is the worse of PlatformStatus and QEStatus, merged.
	Status, PlatformStatus, QEStatus Status
	// Advisories explain the status, each once.
	Advisories []string
	Platform   Platform
	// TCBNumber and QENumber are the evaluation data numbers.
	TCBNumber, QENumber uint32
	// Issued is the older of the dates of TCB info and QE identity. The
	// collateral serves until Until, the first of its ends.
	Issued, Until time.Time
}

// judge says what a quote is worth whose every signature and date is right.
func judge(q Quote, p *pck, s *statements) (Verdict, error) {
	platform, err := s.tcb.worth(p.info)
	if err != nil {
		return Verdict{}, err
	}
	qe, err := s.qe.worth(q.QE)
	if err != nil {
		return Verdict{}, err
	}
	v := Verdict{Status: merge(platform.status, qe.status), PlatformStatus: platform.status, QEStatus: qe.status,
		Advisories: union(platform.advisories, qe.advisories), Platform: p.platform(),
		TCBNumber: *s.tcb.Number, QENumber: *s.qe.Number, Issued: s.tcb.Issued, Until: s.until()}
	if s.qe.Issued.Before(v.Issued) {
		v.Issued = s.qe.Issued
	}
	v.ReportData = q.Report.Data
	if v.Identity, err = q.Report.identity(v.Status, v.Issued); err != nil {
		return Verdict{}, fmt.Errorf("%w: %w", ErrQuote, err)
	}
	return v, nil
}

// identity is who a report is of, on a platform of this status.
func (r Report) identity(s Status, at time.Time) (attest.Identity, error) {
	code, err := attest.HashFromBytes(r.CodeHash[:])
	if err != nil {
		return attest.Identity{}, err
	}
	signer, err := attest.HashFromBytes(r.SignerHash[:])
	if err != nil {
		return attest.Identity{}, err
	}
	id := attest.Identity{CodeHash: code, SignerHash: signer, ProductID: r.ProductID,
		RevocationLevel: int32(r.SecurityVersion) - 1, Level: s.Level(), Mode: attest.Release, Timestamp: at}
	if r.Debug() {
		id.Mode, id.Level = attest.Debug, min(id.Level, attest.Insecure)
	}
	return id, id.Check()
}

// until is the first date on which a statement ends.
func (s *statements) until() time.Time {
	t := s.tcb.NextUpdate
	ends := []time.Time{s.qe.NextUpdate}
	if s.rootList != nil {
		ends = append(ends, s.rootList.period.until, s.pckList.period.until)
	}
	for _, end := range ends {
		if end.Before(t) {
			t = end
		}
	}
	return t
}

// union is both lists, each text once, in their order.
func union(a, b []string) []string {
	var all []string
	for _, s := range append(a[:len(a):len(a)], b...) {
		if !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	return all
}
