package ledger

import (
	"bytes"
	"testing"
)

// Parse reads bytes as a root and as a bucket: each has one form.
func Parse(t *testing.T, b []byte) {
	if r, body, tag, err := parseRoot(b); err == nil && (!bytes.HasPrefix(b, body) || len(tag) != 32 || r.Number == 0) {
		t.Error("half a root")
	}
	if m, err := parseBucket(b); err == nil {
		if again, err := parseBucket(m.encode()); err != nil || len(again) != len(m) {
			t.Error("a bucket that cannot be written")
		}
	}
}
