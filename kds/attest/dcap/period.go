package dcap

import (
	"fmt"
	"time"
)

// period is when something is valid, both ends included.
type period struct {
	what        string
	from, until time.Time
}

func (p period) check(now time.Time) error {
	switch {
	case now.Before(p.from):
		return fmt.Errorf("%w: %s is valid from %s on, and it is %s", ErrDate, p.what, stamp(p.from), stamp(now))
	case now.After(p.until):
		return fmt.Errorf("%w: %s was valid until %s, and it is %s", ErrDate, p.what, stamp(p.until), stamp(now))
	}
	return nil
}

func checkPeriods(now time.Time, all ...[]period) error {
	for _, some := range all {
		for _, p := range some {
			if err := p.check(now); err != nil {
				return err
			}
		}
	}
	return nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
