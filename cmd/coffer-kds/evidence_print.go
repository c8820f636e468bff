package main

import (
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/attest/dcap"
)

// printClaims says what evidence says of itself, which is worth nothing.
func printClaims(to io.Writer, e evidence) {
	fmt.Fprintf(to, "evidence %s\nverified no: anybody can make what follows\n", e.form)
	q, err := dcap.ParseQuote(e.quote)
	if err != nil {
		return
	}
	mode := attest.Release
	if q.Report.Debug() {
		mode = attest.Debug
	}
	fmt.Fprintf(to, "claims code hash %X\nclaims signer %X\nclaims product %d\nclaims revocation level %d\nclaims mode %s\nclaims report data %x\n",
		q.Report.CodeHash, q.Report.SignerHash, q.Report.ProductID, int(q.Report.SecurityVersion)-1, mode, q.Report.Data)
}

// printVerdict says who verified evidence is of and what it is worth.
func printVerdict(to io.Writer, e evidence, v dcap.Verdict) {
	id := v.Identity
	fmt.Fprintf(to, "evidence %s\nverified yes\n", e.form)
	fmt.Fprintf(to, "code hash %s\nsigner %s\nproduct %d\nrevocation level %d\nmode %s\nlevel %s\n",
		id.CodeHash, id.SignerHash, id.ProductID, id.RevocationLevel, id.Mode, id.Level)
	fmt.Fprintf(to, "attested %s\nreport data %s\n", id.Timestamp.UTC().Format(time.RFC3339), hex.EncodeToString(v.ReportData[:]))
	if e.simulated != nil {
		return
	}
	fmt.Fprintf(to, "status %s: platform %s, quoting enclave %s\n", v.Status, v.PlatformStatus, v.QEStatus)
	fmt.Fprintf(to, "advisories %s\n", strings.Join(orNone(v.Advisories), " "))
	fmt.Fprintf(to, "platform FMSPC %s, PCEID %s, %s CA\n", v.Platform.FMSPC, v.Platform.PCEID, v.Platform.CA)
	fmt.Fprintf(to, "evaluation data number TCB info %d, QE identity %d\n", v.TCBNumber, v.QENumber)
	fmt.Fprintf(to, "collateral valid until %s\n", v.Until.UTC().Format(time.RFC3339))
}

// printPolicies says which policies an identity meets, and why not the others.
func printPolicies(to io.Writer, all []numbered, id attest.Identity, at time.Time) {
	for _, n := range all {
		verdict := "meets it"
		if err := n.policy.Match(id, at); err != nil {
			verdict = err.Error()
		}
		fmt.Fprintf(to, "policy %d %s\n  %s\n", n.line, n.policy, oneLine(verdict))
	}
}

func orNone(all []string) []string {
	if len(all) == 0 {
		return []string{"none"}
	}
	return all
}
