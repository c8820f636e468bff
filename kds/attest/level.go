package attest

import "fmt"

// Level is what a platform is worth. Levels are ordered; the zero value is
// invalid and below all of them.
type Level uint8

// The levels.
const (
	// Insecure: revoked, debug, simulated, or anything unverified.
	Insecure Level = iota + 1
	// Stale: out of date, or hardening or configuration needed.
	Stale
	// Secure: up to date.
	Secure
)

var levelNames = map[Level]string{Insecure: "INSECURE", Stale: "STALE", Secure: "SECURE"}

// ParseLevel reads the name of a level. Names are case-sensitive.
func ParseLevel(s string) (Level, error) {
	for l, name := range levelNames {
		if s == name {
			return l, nil
		}
	}
	return 0, fmt.Errorf("%w %q: it is INSECURE, STALE or SECURE", ErrLevel, clip(s))
}

// Valid reports whether l is one of the levels.
func (l Level) Valid() bool { _, ok := levelNames[l]; return ok }

// String is the level's name.
func (l Level) String() string {
	if name, ok := levelNames[l]; ok {
		return name
	}
	return fmt.Sprintf("invalid level %d", uint8(l))
}

// clip bounds what an error repeats of its input.
func clip(s string) string { return s[:min(len(s), 40)] }
