package attest

import "fmt"

// Mode is how an enclave runs. The zero value is invalid.
type Mode uint8

// The modes.
const (
	// Release: nobody can look inside.
	Release Mode = iota + 1
	// Debug: a real enclave that the host may look into.
	Debug
	// Simulation: no enclave at all.
	Simulation
)

var modeNames = map[Mode]string{Release: "release", Debug: "debug", Simulation: "simulation"}

// Valid reports whether m is one of the modes.
func (m Mode) Valid() bool { _, ok := modeNames[m]; return ok }

// String is the mode's name.
func (m Mode) String() string {
	if name, ok := modeNames[m]; ok {
		return name
	}
	return fmt.Sprintf("invalid mode %d", uint8(m))
}
