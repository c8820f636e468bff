package seal_test

import (
	"bytes"
	"testing"

	"github.com/coffer-fs/coffer/store/seal"
)

// A44: nothing that a host can make up panics a parser, and what parses is what
// was built.

func FuzzParseHeader(f *testing.F) {
	for _, v := range makeHeaders() {
		f.Add([]byte(v.Bytes))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := seal.ParseHeader(b)
		if err != nil {
			class(t, "header", err)
			return
		}
		for i := range h.Slots {
			if _, err := h.Unlock(i, fixedKey(1)); err != nil {
				class(t, "slot", err)
			}
		}
	})
}

func FuzzParsePreamble(f *testing.F) {
	f.Add(seal.Preamble{Kind: seal.KindLog, Number: 1, Header: []byte("header")}.Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := seal.ParsePreamble(b)
		if err != nil {
			class(t, "preamble", err)
			return
		}
		if n := 76 + len(p.Header); n <= seal.PreambleSize && !bytes.Equal(p.Encode()[:n], b[:n]) {
			t.Errorf("%x parses, and encodes to %x", b[:n], p.Encode()[:n])
		}
	})
}

func FuzzParseRoot(f *testing.F) {
	for _, v := range makeRoots() {
		f.Add([]byte(v.Bytes))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		info, err := seal.ParseRoot(b)
		if err != nil {
			class(t, "root", err)
			return
		}
		if _, err := info.Open(fixedKey(0xa1)); err != nil {
			class(t, "root", err)
		}
	})
}
