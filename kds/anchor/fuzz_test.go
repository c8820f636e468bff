package anchor_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/anchor"
)

// FuzzRecord decodes the record of a volume: what is taken encodes to the same
// bytes, and all else is damage.
func FuzzRecord(f *testing.F) {
	v := kds.VolumeID{1, 2, 3}
	f.Add(anchor.Record{Version: 7}.Encode(v))
	f.Add([]byte("junk"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := anchor.ParseRecord(v, b)
		switch {
		case err != nil && !errors.Is(err, anchor.ErrDamaged):
			t.Errorf("%x: %v", b, err)
		case err == nil && !bytes.Equal(r.Encode(v), b):
			t.Errorf("%x decodes, and encodes to other bytes", b)
		}
	})
}
