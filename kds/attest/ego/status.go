package ego

import (
	"errors"
	"fmt"
	"slices"

	"github.com/edgelesssys/ego/attestation/tcbstatus"

	"github.com/coffer-fs/coffer/kds/attest"
)

// Status is what a platform's patches are worth. Unlike EGo's, its zero value
// is invalid, so that a status nobody set is not the best there is.
type Status uint8

// The statuses.
const (
	StatusUnverified Status = iota + 1
	StatusUpToDate
	StatusSWHardeningNeeded
	StatusConfigurationNeeded
	StatusConfigurationAndSWHardeningNeeded
	StatusOutOfDate
	StatusOutOfDateConfigurationNeeded
	StatusRevoked
)

// errTCBLevel stands for EGo's error of the same meaning: the evidence is
// genuine and the platform not up to date.
var errTCBLevel = errors.New("platform is not up to date")

// away are the results of Open Enclave that are about what it verifies with: the
// provider of collateral is not there, does not answer, or gives lists of before.
var away = []string{"OE_QUOTE_PROVIDER_LOAD_ERROR", "OE_QUOTE_PROVIDER_CALL_ERROR", "OE_SERVICE_UNAVAILABLE", "OE_VERIFY_CRL_EXPIRED"}

// unavailable reports whether an error of EGo says nothing of the evidence. EGo has
// no errors for them but their names.
func unavailable(err error) bool { return slices.Contains(away, err.Error()) }

// Level is the status in the words of a policy. The zero status has none.
func (s Status) Level() attest.Level {
	switch s {
	case StatusUpToDate:
		return attest.Secure
	case StatusSWHardeningNeeded, StatusConfigurationNeeded, StatusConfigurationAndSWHardeningNeeded,
		StatusOutOfDate, StatusOutOfDateConfigurationNeeded:
		return attest.Stale
	case StatusUnverified, StatusRevoked:
		return attest.Insecure
	}
	return 0
}

// statusOf reads EGo's status together with the error that came with it, which
// is nil or errTCBLevel: a status means something only then, and "up to date"
// next to errTCBLevel is a value that nobody set.
func statusOf(s tcbstatus.Status, err error) (Status, error) {
	if err != nil && !errors.Is(err, errTCBLevel) {
		return 0, err
	}
	switch s {
	case tcbstatus.UpToDate:
		if err != nil {
			return StatusUnverified, nil
		}
		return StatusUpToDate, nil
	case tcbstatus.OutOfDate:
		return StatusOutOfDate, nil
	case tcbstatus.Revoked:
		return StatusRevoked, nil
	case tcbstatus.ConfigurationNeeded:
		return StatusConfigurationNeeded, nil
	case tcbstatus.OutOfDateConfigurationNeeded:
		return StatusOutOfDateConfigurationNeeded, nil
	case tcbstatus.SWHardeningNeeded:
		return StatusSWHardeningNeeded, nil
	case tcbstatus.ConfigurationAndSWHardeningNeeded:
		return StatusConfigurationAndSWHardeningNeeded, nil
	case tcbstatus.Unknown:
		return StatusUnverified, nil
	}
	return 0, fmt.Errorf("%w: unknown TCB status %d", attest.ErrEvidence, s)
}
