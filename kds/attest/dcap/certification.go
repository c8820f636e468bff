package dcap

import "fmt"

// CertificationType says how a quote names the PCK that vouches for its quoting
// enclave.
type CertificationType uint16

// The types that exist.
const (
	certPlainPPID CertificationType = iota + 1
	certEncryptedPPID2048
	certEncryptedPPID3072
	certLeaf
	certChain
	certQEReport
	certManifest
)

var certificationNames = map[CertificationType]string{
	certPlainPPID:         "plain PPID",
	certEncryptedPPID2048: "PPID encrypted by RSA-2048",
	certEncryptedPPID3072: "PPID encrypted by RSA-3072",
	certLeaf:              "PCK certificate alone",
	certChain:             "PCK certificate chain",
	certQEReport:          "QE report",
	certManifest:          "platform manifest",
}

// String is the type's number and name.
func (t CertificationType) String() string {
	if name, ok := certificationNames[t]; ok {
		return fmt.Sprintf("certification data of type %d (%s)", uint16(t), name)
	}
	return fmt.Sprintf("certification data of unknown type %d", uint16(t))
}

// Certification is certification data.
type Certification struct {
	Type CertificationType
	data []byte
}

func readCertification(r *reader) Certification {
	t := r.u16("type of the certification data")
	return Certification{CertificationType(t), r.sized("certification data", r.u32("size of the certification data"))}
}

// check refuses types that do not exist, or not in this place.
func (c Certification) check() error {
	if _, ok := certificationNames[c.Type]; !ok || c.Type == certQEReport {
		return fmt.Errorf("%w: %s", ErrQuote, c.Type)
	}
	return nil
}

// chain is the PCK chain: the quote's own, or for a quote that names its PCK by
// a PPID in the clear, the one that was given beside it. An encrypted PPID can
// be read by Intel only.
func (c Certification) chain(beside string) (string, error) {
	switch {
	case c.Type == certChain:
		return string(c.data), nil
	case c.Type == certPlainPPID && beside != "":
		return beside, nil
	case c.Type == certPlainPPID:
		return "", fmt.Errorf("%w: %s, and no PCK chain beside the quote", ErrQuote, c.Type)
	}
	return "", fmt.Errorf("%w: %s, want %s", ErrQuote, c.Type, certChain)
}
