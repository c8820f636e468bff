package dcap

import (
	"fmt"

	"github.com/coffer-fs/coffer/kds/attest"
)

// Status is what Intel says of a platform's patches. The zero value is invalid
// and has no level, so that a status nobody set is not the best there is.
type Status uint8

// The statuses.
const (
	UpToDate Status = iota + 1
	SWHardeningNeeded
	ConfigurationNeeded
	ConfigurationAndSWHardeningNeeded
	OutOfDate
	OutOfDateConfigurationNeeded
	Revoked
)

// lacks is what a status finds missing.
type lacks struct{ hardening, configuration, update, trust bool }

var statuses = map[Status]struct {
	name string
	lacks
}{
	UpToDate:                          {"UpToDate", lacks{}},
	SWHardeningNeeded:                 {"SWHardeningNeeded", lacks{hardening: true}},
	ConfigurationNeeded:               {"ConfigurationNeeded", lacks{configuration: true}},
	ConfigurationAndSWHardeningNeeded: {"ConfigurationAndSWHardeningNeeded", lacks{hardening: true, configuration: true}},
	OutOfDate:                         {"OutOfDate", lacks{update: true}},
	OutOfDateConfigurationNeeded:      {"OutOfDateConfigurationNeeded", lacks{configuration: true, update: true}},
	Revoked:                           {"Revoked", lacks{trust: true}},
}

// parseStatus reads a status as TCB info and QE identity write it.
func parseStatus(name string) (Status, error) {
	for s, known := range statuses {
		if name == known.name {
			return s, nil
		}
	}
	return 0, fmt.Errorf("%w: unknown TCB status %q", ErrCollateral, clip(name))
}

// String is Intel's name of the status.
func (s Status) String() string {
	if known, ok := statuses[s]; ok {
		return known.name
	}
	return fmt.Sprintf("invalid status %d", uint8(s))
}

// Level is the status in the words of a policy. The zero status has none.
func (s Status) Level() attest.Level {
	switch s {
	case UpToDate:
		return attest.Secure
	case SWHardeningNeeded, ConfigurationNeeded, ConfigurationAndSWHardeningNeeded, OutOfDate, OutOfDateConfigurationNeeded:
		return attest.Stale
	case Revoked:
		return attest.Insecure
	}
	return 0
}

// merge is the status of a platform whose parts have these two: it lacks what
// either lacks. Software hardening is not mentioned where an update is needed.
func merge(a, b Status) Status {
	x, okA := statuses[a]
	y, okB := statuses[b]
	if !okA || !okB {
		return 0
	}
	both := lacks{x.hardening || y.hardening, x.configuration || y.configuration, x.update || y.update, x.trust || y.trust}
	switch {
	case both.trust:
		both = lacks{trust: true}
	case both.update:
		both.hardening = false
	}
	for s, known := range statuses {
		if known.lacks == both {
			return s
		}
	}
	return 0
}

// clip bounds what an error repeats of its input.
func clip(s string) string { return s[:min(len(s), 40)] }
