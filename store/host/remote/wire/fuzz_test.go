package wire_test

import (
	"bytes"
	"testing"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/remote/wire"
)

// FuzzInfos decodes what a host says of its segments: what is taken is within its
// limits, and encodes to the same bytes.
func FuzzInfos(f *testing.F) {
	f.Add(wire.AppendInfos(nil, []host.SegmentInfo{{ID: 1, Size: 4096}, {ID: 2, Size: 0}}))
	f.Add([]byte{1, 2, 3})
	f.Fuzz(func(t *testing.T, b []byte) {
		infos, err := wire.ParseInfos(b)
		if err == nil && !bytes.Equal(wire.AppendInfos(nil, infos), b) {
			t.Errorf("%x decodes, and encodes to other bytes", b)
		}
	})
}

// FuzzIDs decodes what a client asks to be synced, in a body and in a header.
func FuzzIDs(f *testing.F) {
	f.Add(wire.AppendIDs(nil, []host.SegmentID{1, 2}), "1,2")
	f.Add([]byte{0}, "01,,")
	f.Fuzz(func(t *testing.T, b []byte, text string) {
		if ids, err := wire.ParseIDs(b); err == nil && !bytes.Equal(wire.AppendIDs(nil, ids), b) {
			t.Errorf("%x decodes, and encodes to other bytes", b)
		}
		if ids, err := wire.ParseIDsText(text); err == nil && wire.IDsText(ids) != text {
			t.Errorf("%q decodes, and encodes to %q", text, wire.IDsText(ids))
		}
		if v, err := wire.Unquote(text); err == nil && wire.Quote(v) != text {
			t.Errorf("%q decodes, and encodes to %q", text, wire.Quote(v))
		}
	})
}
