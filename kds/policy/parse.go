package policy

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/coffer-fs/coffer/kds/attest"
)

// Parse reads a whole constraint.
func Parse(text string) (Constraint, error) {
	c, err := ParseTemplate(text)
	if err != nil {
		return Constraint{}, err
	}
	if err := c.Check(); err != nil {
		return Constraint{}, err
	}
	return c, nil
}

// ParseTemplate reads a constraint that may still lack C and S, because Expand
// will add the enclave's own. It must not be matched before that.
func ParseTemplate(text string) (Constraint, error) {
	if len(text) > MaxTextBytes {
		return Constraint{}, invalid("%d bytes long, at most %d are read", len(text), MaxTextBytes)
	}
	c := Constraint{text: text}
	seen := map[string]bool{}
	for token := range strings.SplitSeq(text, " ") {
		if token == "" {
			continue
		}
		if err := c.add(token, seen); err != nil {
			return Constraint{}, err
		}
	}
	c.codes, c.signers = sortedSet(c.codes), sortedSet(c.signers)
	if c.sec == 0 {
		c.sec = attest.Stale
	}
	if n := len(c.Canonical()); n > MaxTextBytes {
		return Constraint{}, invalid("%d bytes long in canonical form, at most %d are read", n, MaxTextBytes)
	}
	return c, nil
}

func (c *Constraint) add(token string, seen map[string]bool) error {
	key, value, ok := strings.Cut(token, ":")
	if !ok || strings.Contains(value, ":") {
		return invalid("invalid token %s: it must be KEY:VALUE with one colon", quote(token))
	}
	set, ok := setters[key]
	if !ok {
		return invalid("unknown key %s: it is C, S, PROD, REVOKE, SEC or EXPIRE", quote(key))
	}
	if seen[key] && key != "C" && key != "S" {
		return invalid("more than one %s defined", key)
	}
	seen[key] = true
	if err := set(c, value); err != nil {
		return fmt.Errorf("%w: %s %s: %w", ErrInvalid, key, quote(value), err)
	}
	return nil
}

// setters has one entry a key. Keys are case-sensitive.
var setters = map[string]func(*Constraint, string) error{
	"C": func(c *Constraint, v string) error { return addHash(&c.codes, v) },
	"S": func(c *Constraint, v string) error { return addHash(&c.signers, v) },
	"PROD": func(c *Constraint, v string) error {
		n, err := parseInt(v)
		switch {
		case err != nil:
			return err
		case n < 0:
			return errors.New("product ID is negative")
		case n > 1<<16-1:
			return errors.New("product ID is not a 16-bit number")
		}
		prod := uint16(n)
		c.prod = &prod
		return nil
	},
	"REVOKE": func(c *Constraint, v string) error {
		n, err := parseInt(v)
		if err == nil && n < 0 {
			err = errors.New("minimum revocation level is negative")
		}
		c.revoke = &n
		return err
	},
	"SEC": func(c *Constraint, v string) (err error) {
		c.sec, err = attest.ParseLevel(v)
		return err
	},
	"EXPIRE": func(c *Constraint, v string) error {
		p, err := ParsePeriod(v)
		c.expire = &p
		return err
	},
}

func addHash(to *[]attest.Hash, value string) error {
	h, err := attest.ParseHash(value)
	if err == nil {
		*to = append(*to, h)
	}
	return err
}

// parseInt reads 32 bits in decimal, with a sign and leading zeros if the
// writer wants them.
func parseInt(s string) (int32, error) {
	n, err := strconv.ParseInt(s, 10, 32)
	if errors.Is(err, strconv.ErrRange) {
		return 0, errors.New("number is too large")
	} else if err != nil {
		return 0, errors.New("not a decimal number")
	}
	return int32(n), nil
}

func sortedSet(h []attest.Hash) []attest.Hash {
	slices.Sort(h)
	return slices.Compact(h)
}

// quote repeats a bounded part of the input.
func quote(s string) string {
	if len(s) > 40 {
		return strconv.Quote(s[:40]) + "..."
	}
	return strconv.Quote(s)
}
