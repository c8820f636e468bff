package dcap

import "encoding/json"

// WithoutLists is a verifier that reads no revocation lists: there are real
// quotes whose lists nobody kept.
func WithoutLists(o Options) *Verifier {
	v := New(o)
	v.noList = true
	return v
}

// ParseExtension reads an SGX extension.
func ParseExtension(der []byte) (fmspc FMSPC, pceID PCEID, components [componentCount]uint8, pceSVN uint16, err error) {
	p, err := parseExtension(der)
	return p.fmspc, p.pceID, p.tcb.components, p.tcb.pceSVN, err
}

// ReadTCBInfo and ReadQEIdentity decode texts that are signed.
func ReadTCBInfo(text []byte) error {
	var j tcbInfoJSON
	if err := json.Unmarshal(text, &j); err != nil {
		return err
	}
	_, err := j.read()
	return err
}

func ReadQEIdentity(text []byte) error {
	var j qeIdentityJSON
	if err := json.Unmarshal(text, &j); err != nil {
		return err
	}
	_, err := j.read()
	return err
}

// Merge is merge.
func Merge(a, b Status) Status { return merge(a, b) }

// Cached is how much a verifier keeps.
func (v *Verifier) Cached() (chains, keys, collateral int) {
	return len(v.pcks.byKey), len(v.keys.byKey), len(v.read.byKey)
}
