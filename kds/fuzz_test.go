package kds_test

import (
	"bytes"
	"testing"

	"github.com/coffer-fs/coffer/kds"
)

// FuzzRequests decodes the bodies of requests: what is taken names a key that
// there can be.
func FuzzRequests(f *testing.F) {
	f.Add([]byte(`{"spec":{"name":"EnclavePersistence","masterKeyType":"development","policyConstraint":"SEC:INSECURE"},"purpose":"mail"}`))
	f.Add([]byte(`{"op":"read"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := kds.DecodePublicRequest(b); err == nil && r.Spec.Check() != nil {
			t.Errorf("public: %q is taken", b)
		}
		if r, err := kds.DecodePrivateRequest(b); err == nil && r.Spec.Check() != nil {
			t.Errorf("private: %q is taken", b)
		}
		if r, err := kds.DecodeAnchorRequest(b); err == nil && (r.Spec.Check() != nil || r.Generation == 0) {
			t.Errorf("anchor: %q is taken", b)
		}
		if s, err := kds.ParseAnchorState(b); err == nil && !bytes.Equal(s.Append(nil), b) {
			t.Errorf("%x decodes to a state, and encodes to other bytes", b)
		}
	})
}
