package dcap

import (
	"encoding/hex"
	"fmt"

	"github.com/coffer-fs/coffer/kds/internal/strictjson"
)

// Hex is bytes that JSON shows in hexadecimal digits.
type Hex []byte

// MarshalText implements encoding.TextMarshaler.
func (h Hex) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(h)), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (h *Hex) UnmarshalText(text []byte) error {
	b, err := hex.DecodeString(string(text))
	if err != nil {
		return fmt.Errorf("not hexadecimal")
	}
	*h = b
	return nil
}

// Collateral is what Intel says about a platform, for whoever verifies its
// quotes. All of it is signed, nothing is secret, and services give it as this
// JSON. Chains are PEM, leaf first, root last; lists are DER.
type Collateral struct {
	// PCKChain is for quotes that do not embed it. Default none.
	PCKChain string `json:"pck_certificate_chain,omitempty"`

	PCKCRLIssuerChain string `json:"pck_crl_issuer_chain"`
	RootCACRL         Hex    `json:"root_ca_crl"`
	PCKCRL            Hex    `json:"pck_crl"`

	// TCBInfo and QEIdentity are the very texts that were signed.
	TCBInfoIssuerChain    string `json:"tcb_info_issuer_chain"`
	TCBInfo               string `json:"tcb_info"`
	TCBInfoSignature      Hex    `json:"tcb_info_signature"`
	QEIdentityIssuerChain string `json:"qe_identity_issuer_chain"`
	QEIdentity            string `json:"qe_identity"`
	QEIdentitySignature   Hex    `json:"qe_identity_signature"`
}

// ParseCollateral reads the JSON of collateral. It verifies nothing.
func ParseCollateral(b []byte) (Collateral, error) {
	var c Collateral
	if len(b) > MaxCollateralBytes {
		return c, fmt.Errorf("%w: %d bytes, at most %d are read", ErrCollateral, len(b), MaxCollateralBytes)
	}
	if err := strictjson.Unmarshal(b, &c); err != nil {
		return Collateral{}, fmt.Errorf("%w: %w", ErrCollateral, err)
	}
	return c, nil
}
