package attest

import (
	"fmt"
	"log/slog"
	"time"
)

// MinRevocationLevel is the level of an SGX enclave whose ISVSVN is 0: the
// level is the ISVSVN less one.
const MinRevocationLevel = -1

// Identity is who an enclave is. It is comparable, and its zero value is
// invalid.
type Identity struct {
	CodeHash        Hash      // MRENCLAVE
	SignerHash      Hash      // MRSIGNER
	ProductID       uint16    // ISVPRODID
	RevocationLevel int32     // ISVSVN - 1
	Level           Level     // what the platform is worth
	Mode            Mode      // how the enclave runs
	Timestamp       time.Time // when it was attested
}

// Check refuses an identity with a missing or impossible part.
func (i Identity) Check() error {
	switch {
	case !i.CodeHash.Valid():
		return fmt.Errorf("%w: no code hash", ErrIdentity)
	case !i.SignerHash.Valid():
		return fmt.Errorf("%w: no signer hash", ErrIdentity)
	case i.RevocationLevel < MinRevocationLevel:
		return fmt.Errorf("%w: revocation level %d", ErrIdentity, i.RevocationLevel)
	case !i.Level.Valid():
		return fmt.Errorf("%w: no security level", ErrIdentity)
	case !i.Mode.Valid():
		return fmt.Errorf("%w: no mode", ErrIdentity)
	case i.Mode != Release && i.Level != Insecure:
		return fmt.Errorf("%w: a %s enclave with level %s", ErrIdentity, i.Mode, i.Level)
	}
	return nil
}

// String shows the identity on one line, in the words of a policy.
func (i Identity) String() string {
	return fmt.Sprintf("C:%s S:%s PROD:%d REVOKE:%d SEC:%s (%s)",
		i.CodeHash, i.SignerHash, i.ProductID, i.RevocationLevel, i.Level, i.Mode)
}

// LogValue implements slog.LogValuer.
func (i Identity) LogValue() slog.Value {
	return slog.GroupValue(
		slog.String("code", string(i.CodeHash)), slog.String("signer", string(i.SignerHash)),
		slog.Int("product", int(i.ProductID)), slog.Int("revocation", int(i.RevocationLevel)),
		slog.String("level", i.Level.String()), slog.String("mode", i.Mode.String()))
}
