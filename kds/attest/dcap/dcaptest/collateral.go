package dcaptest

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"

	"github.com/coffer-fs/coffer/kds/attest/dcap"
)

// Level is a TCB level of version 3.
func Level(component, pceSVN int, status string, advisories ...string) map[string]any {
	var all []map[string]any
	for i := range 16 {
		svn := 0
		if i < 6 {
			svn = component
		}
		all = append(all, map[string]any{"svn": svn})
	}
	return map[string]any{"tcb": map[string]any{"sgxtcbcomponents": all, "pcesvn": pceSVN},
		"tcbDate": "2025-01-01T00:00:00Z", "tcbStatus": status, "advisoryIDs": advisories}
}

// QELevel is a level of the QE identity.
func QELevel(svn int, status string, advisories ...string) map[string]any {
	return map[string]any{"tcb": map[string]any{"isvsvn": svn},
		"tcbDate": "2025-01-01T00:00:00Z", "tcbStatus": status, "advisoryIDs": advisories}
}

func (m *Machine) tcbInfo() map[string]any {
	return map[string]any{"id": "SGX", "version": 3, "issueDate": date(m.Now.AddDate(0, 0, -5)), "nextUpdate": date(m.Now.AddDate(0, 0, 25)),
		"fmspc": hex.EncodeToString(m.Platform.FMSPC[:]), "pceId": hex.EncodeToString(m.Platform.PCEID[:]), "tcbType": 0,
		"tcbEvaluationDataNumber": 17,
		"tcbLevels":               []any{Level(5, 13, "UpToDate"), Level(3, 11, "OutOfDate", "INTEL-SA-00001")}}
}

func (m *Machine) qeIdentity() map[string]any {
	return map[string]any{"id": "QE", "version": 2, "issueDate": date(m.Now.AddDate(0, 0, -4)), "nextUpdate": date(m.Now.AddDate(0, 0, 26)),
		"tcbEvaluationDataNumber": 17, "miscselect": "00000000", "miscselectMask": "FFFFFFFF",
		"attributes": "11000000000000000000000000000000", "attributesMask": "FBFFFFFFFFFFFFFF0000000000000000",
		"mrsigner": hex.EncodeToString(qeSigner[:]), "isvprodid": 1,
		"tcbLevels": []any{QELevel(8, "UpToDate"), QELevel(6, "OutOfDate", "INTEL-SA-00002")}}
}

func date(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// Date is a date of a statement, days from the machine's now.
func (m *Machine) Date(days int) string { return date(m.Now.AddDate(0, 0, days)) }

// Make is a quote and its collateral, and the machine's root beside: each call
// makes everything anew.
func (m *Machine) Make(o *dcap.Options) ([]byte, dcap.Collateral) {
	root := m.Root()
	issuer := m.PCKCA(root)
	if o != nil {
		o.Roots = append(o.Roots[:0:0], root)
	}
	signers := PEM(m.TCBSigner(root), root)
	c := dcap.Collateral{PCKCRLIssuerChain: PEM(issuer, root), RootCACRL: m.list("root", root, m.Keys.Root),
		PCKCRL: m.list("ca", issuer, m.Keys.CA), TCBInfoIssuerChain: signers, QEIdentityIssuerChain: signers}
	c.TCBInfo, c.TCBInfoSignature = m.statement(m.TCBInfo)
	c.QEIdentity, c.QEIdentitySignature = m.statement(m.QE)
	if m.EditCollateral != nil {
		m.EditCollateral(&c)
	}
	return m.quote(PEM(m.PCK(issuer), issuer, root)), c
}

// statement signs a text.
func (m *Machine) statement(fields map[string]any) (text string, signature []byte) {
	b, err := json.Marshal(fields)
	must(err)
	return string(b), Sign(m.Keys.TCB, b)
}

// Sign is a signature of r and s, 32 bytes each.
func Sign(k *ecdsa.PrivateKey, message []byte) []byte {
	h := sha256.Sum256(message)
	r, s, err := ecdsa.Sign(rand.Reader, k, h[:])
	must(err)
	return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
}
