package kds

import (
	"fmt"

	"github.com/coffer-fs/coffer/kds/attest"
)

// Source says where the key of a volume comes from.
type Source uint8

// The sources. The zero value is invalid.
const (
	// FromKDS: ask the KDS for the configured spec.
	FromKDS Source = iota + 1
	// FromMachine: the platform's own key for its signer; the volume opens on
	// this machine only.
	FromMachine
	// FromMachineWarn: the same, and say loudly that a spec is configured but
	// not used.
	FromMachineWarn
)

// String names the source.
func (s Source) String() string {
	switch s {
	case FromKDS:
		return "kds"
	case FromMachine, FromMachineWarn:
		return "machine"
	}
	return fmt.Sprintf("invalid source %d", uint8(s))
}

// ChooseSource decides where the key of a volume comes from, by the platform's
// mode, by whether a persistence key spec is configured, and by whether the
// host gives a KDS URL. Release with a spec and without a URL is ErrNoKDS.
func ChooseSource(mode attest.Mode, hasSpec, hasURL bool) (Source, error) {
	switch {
	case !mode.Valid():
		return 0, fmt.Errorf("choose key source: %w: %s", attest.ErrIdentity, mode)
	case !hasSpec:
		return FromMachine, nil
	case hasURL:
		return FromKDS, nil
	case mode == attest.Release:
		return 0, fmt.Errorf("the enclave is configured to get its persistence key from a KDS: %w", ErrNoKDS)
	}
	return FromMachineWarn, nil
}
