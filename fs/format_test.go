package fs_test

import (
	"bytes"
	"encoding/hex"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/coffer-fs/coffer/fs"
)

// example returns a worked example of docs/format-fs.md: the hexadecimal digits
// of the block that begins with its name. What stands behind # is for people.
func example(tb testing.TB, name string) []byte {
	tb.Helper()
	doc, err := os.ReadFile("../docs/format-fs.md")
	if err != nil {
		tb.Fatal(err)
	}
	_, block, ok := strings.Cut(string(doc), "```"+name+"\n")
	block, _, ok2 := strings.Cut(block, "```")
	if !ok || !ok2 {
		tb.Fatalf("docs/format-fs.md has no example %q", name)
	}
	digits := regexp.MustCompile(`#.*|\s`).ReplaceAllString(block, "")
	b, err := hex.DecodeString(digits)
	if err != nil {
		tb.Fatalf("example %q: %v", name, err)
	}
	return b
}

// hexBytes is for seeds, which can't ask the document.
func hexBytes(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

const (
	exampleTimes = "17979cfe362a0000" + "17979cfe362a0001" + "17979cfe362a0002" + "17979cfe362a0003"
	exampleIDs   = "000003e8" + "00000064"
)

func exampleFile() []byte {
	return hexBytes("0101" + "000081a4" + exampleIDs + "00000001" + "00000000" + "00000000" +
		"0000000000000005" + "0000000000000005" + exampleTimes)
}

func exampleDir() []byte {
	return hexBytes("0100" + "000041ed" + exampleIDs + "00000002" + "00000000" + "00000000" +
		"0000000000000001" + "0000000000000000" + exampleTimes + "0000000000000001" + "0000000000000002")
}

func exampleSuper() []byte {
	return hexBytes("01" + "000102030405060708090a0b0c0d0e0f" + "0000000000000004" + "0000000000000003")
}

func exampleEntry() []byte {
	return hexBytes("0000000000000003" + "08" + "0000000000000001" + "05" + hex.EncodeToString([]byte("hello")))
}

func exampleXattr() []byte {
	return hexBytes("06" + "00000002" + hex.EncodeToString([]byte("user.x")) + hex.EncodeToString([]byte("ok")))
}

// TestFormatExamples compares the examples of docs/format-fs.md with the code.
func TestFormatExamples(t *testing.T) {
	for name, c := range map[string]struct {
		want      []byte
		roundTrip func([]byte) ([]byte, error)
	}{
		"superblock": {exampleSuper(), fs.RoundTripSuper},
		"file":       {exampleFile(), fs.RoundTripInode},
		"directory":  {exampleDir(), fs.RoundTripInode},
		"entry":      {exampleEntry(), fs.RoundTripEntries},
		"xattr": {exampleXattr(), func(b []byte) ([]byte, error) {
			_, _, _, err := fs.ParseXattr(b)
			return b, err
		}},
	} {
		b := example(t, name)
		if !bytes.Equal(b, c.want) {
			t.Errorf("%s: the document has %x, want %x", name, b, c.want)
		}
		if got, err := c.roundTrip(b); err != nil || !bytes.Equal(got, b) {
			t.Errorf("%s: %x became %x, %v", name, b, got, err)
		}
	}
	hash := fs.HashName([16]byte(exampleSuper()[1:17]), "hello")
	if got := example(t, "hash"); !bytes.Equal(got, hexBytes(hex.EncodeToString([]byte{
		byte(hash >> 56), byte(hash >> 48), byte(hash >> 40), byte(hash >> 32), byte(hash >> 24), byte(hash >> 16), byte(hash >> 8), byte(hash)}))) {
		t.Errorf("the hash of \"hello\" is %016x, the document has %x", hash, got)
	}
}
