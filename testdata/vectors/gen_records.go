//go:build ignore

// This program made records.json. It knows the tables of docs/format.md and nothing
// of coffer's code: what it makes is a second opinion. The file is golden: if a test
// disagrees with it, the code is wrong.
//
//	go run gen_records.go
package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
)

// vector is what one frame holds, whole or with one defect.
type vector struct {
	Name  string `json:"name"`
	Hunts string `json:"hunts"`
	Kind  string `json:"kind"`
	Layer uint64 `json:"layer,omitempty"`
	Want  string `json:"want"` // ok, or damaged
	Bytes string `json:"bytes"`
}

var all []vector

func add(kind, name, hunts, want string, layer uint64, b []byte) {
	all = append(all, vector{kind + ": " + name, hunts, kind, layer, want, hex.EncodeToString(b)})
}

func main() {
	snapshots()
	scrubs()
	roots()
	b, err := json.MarshalIndent(all, "", "\t")
	if err == nil {
		err = os.WriteFile("records.json", append(b, '\n'), 0o644)
	}
	if err != nil {
		panic(err)
	}
}

func u16(n uint16) []byte { return []byte{byte(n >> 8), byte(n)} }
func u32(n uint32) []byte { return append(u16(uint16(n>>16)), u16(uint16(n))...) }
func u64(n uint64) []byte { return append(u32(uint32(n>>32)), u32(uint32(n))...) }

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// with is b with one byte changed.
func with(b []byte, at int, to byte) []byte {
	b = bytes.Clone(b)
	b[at] = to
	return b
}

// snapshots: docs/format.md, "Snapshots".
func snapshots() {
	record := func(flags byte, name string) []byte {
		return join([]byte{flags}, u64(5), u64(1<<60), u64(100), u64(4096), []byte(name))
	}
	good := record(0, "daily")
	add("snapshot", "one", "another order of fields", "ok", 3, good)
	add("snapshot", "being deleted", "a deletion that a crash undoes", "ok", 256, record(1, "daily"))
	add("snapshot", "a name of 255 bytes", "a limit that is off by one", "ok", 1, record(0, string(bytes.Repeat([]byte("n"), 255))))
	add("snapshot", "layer 0", "a snapshot in the present state", "damaged", 0, good)
	add("snapshot", "layer 257", "layers without bound", "damaged", 257, good)
	add("snapshot", "an unknown flag", "flags that are passed over", "damaged", 3, record(2, "daily"))
	add("snapshot", "cut before the name", "a name that is empty", "damaged", 3, good[:33])
	add("snapshot", "cut in the fields", "a read past the end", "damaged", 3, good[:20])
	add("snapshot", "nothing", "a read past the end", "damaged", 3, nil)
	add("snapshot", "a name of 256 bytes", "a limit that is off by one", "damaged", 3, record(0, string(bytes.Repeat([]byte("n"), 256))))
	add("snapshot", "a name with a slash", "paths made of names", "damaged", 3, record(0, "a/b"))
	add("snapshot", "a name that begins with a dot", "names that hide", "damaged", 3, record(0, ".a"))
	add("snapshot", "a name that begins with a hyphen", "names taken for flags", "damaged", 3, record(0, "-a"))
	add("snapshot", "a name that is not UTF-8", "names that can't be shown", "damaged", 3, record(0, "a\xff"))
	add("snapshot", "a name with a line break", "lines made of names", "damaged", 3, record(0, "a\nb"))
}

// scrubs: docs/format.md, "Scrub".
func scrubs() {
	key := join(u64(77), []byte{4}, u64(8192))
	position := func(damaged uint64, count uint16) []byte {
		return join([]byte{0}, key, u64(1), u64(2), u64(3), u64(400), u64(damaged), u16(count))
	}
	frame := join([]byte{3}, key, u64(9), u32(4096), u32(716))
	whole := position(0, 0)
	hit := join(position(1, 1), frame)
	add("scrub", "nothing damaged", "another order of fields", "ok", 0, whole)
	add("scrub", "at its end", "a pass that begins anew", "ok", 0, with(whole, 0, 1))
	add("scrub", "a damaged frame", "another order of fields", "ok", 0, hit)
	add("scrub", "more damage than is listed", "counts taken for lengths", "ok", 0, join(position(5000, 1), frame))
	add("scrub", "an unknown end", "flags that are passed over", "damaged", 0, with(whole, 0, 2))
	add("scrub", "cut in the fields", "a read past the end", "damaged", 0, whole[:59])
	add("scrub", "cut in a frame", "a read past the end", "damaged", 0, hit[:len(hit)-1])
	add("scrub", "a byte more", "bytes that nothing accounts for", "damaged", 0, append(bytes.Clone(hit), 0))
	add("scrub", "a count without its frame", "allocation by count", "damaged", 0, position(1, 1))
	add("scrub", "more frames than damage", "counts that contradict each other", "damaged", 0, join(position(0, 1), frame))
	add("scrub", "damage without a frame", "counts that contradict each other", "damaged", 0, position(1, 0))
	add("scrub", "1001 frames", "lists without bound", "damaged", 0, join(position(1001, 1001), bytes.Repeat(frame, 1001)))
	add("scrub", "an unknown part", "parts that are passed over", "damaged", 0, with(hit, 60, 4))
	add("scrub", "part 0", "parts that are passed over", "damaged", 0, with(hit, 60, 0))
	add("scrub", "a negative count", "counts below nothing", "damaged", 0, with(whole, 18, 0x80))
}

// roots: docs/format.md, "Root" and "Anchor".
func roots() {
	root := func(flags byte, capacity, next uint64, pages uint16) []byte {
		return join(u64(9), u64(2), u64(4), []byte{flags}, u64(capacity),
			u64(6), u32(4096), u32(16384), []byte{1}, // tree and its level
			u64(7), u32(1), bytes.Repeat([]byte{0x5a}, 32), u32(8704), u64(31), bytes.Repeat([]byte{0xc4}, 32), // log
			u64(next), u16(pages))
	}
	page := join(u64(6), u32(20480), u32(16384), u32(1), bytes.Repeat([]byte{0x9a}, 32))
	state := func(n byte) []byte {
		return join(u64(3), u64(9), u64(31), bytes.Repeat([]byte{n}, 32), make([]byte, 16))
	}
	anchored := join(bytes.Repeat([]byte{0xee}, 32), state(1), state(2))
	const size = 64 << 20
	plain := join(root(0, size, 12, 1), page)
	full := join(root(3, size, 12, 1), page, anchored)
	add("root", "without an anchor", "another order of fields", "ok", 0, plain)
	add("root", "clean", "flags that are passed over", "ok", 0, join(root(1, size, 12, 1), page))
	add("root", "anchored", "an anchor that is passed over", "ok", 0, full)
	add("root", "anchored, no page", "a page taken for the anchor", "ok", 0, join(root(2, size, 12, 0), anchored))
	add("root", "an unknown flag", "flags that are passed over", "damaged", 0, with(plain, 24, 4))
	add("root", "anchored without its states", "a read past the end", "damaged", 0, join(root(2, size, 12, 1), page))
	add("root", "anchored, a byte short", "a read past the end", "damaged", 0, full[:len(full)-1])
	add("root", "states without the flag", "an anchor that a flag takes away", "damaged", 0, with(full, 24, 1))
	add("root", "cut in the fields", "a read past the end", "damaged", 0, plain[:147])
	add("root", "a page less than counted", "allocation by count", "damaged", 0, root(0, size, 12, 1))
	add("root", "a page more than counted", "bytes that nothing accounts for", "damaged", 0, join(root(0, size, 12, 0), page))
	add("root", "a byte more", "bytes that nothing accounts for", "damaged", 0, append(bytes.Clone(plain), 0))
	add("root", "65535 pages", "lists without bound", "damaged", 0, join(root(0, size, 12, 65535), bytes.Repeat(page, 3)))
	add("root", "a negative size", "sizes below nothing", "damaged", 0, join(root(0, 1<<63, 12, 1), page))
	add("root", "segment numbers at their end", "numbers that come again", "damaged", 0, join(root(0, size, 1<<48, 1), page))
}
