package store_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/coffer-fs/coffer/key"
	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/memhost"
	"github.com/coffer-fs/coffer/store/seal"
	"github.com/coffer-fs/coffer/store/storetest"
)

var updateFlag = flag.Bool("update", false, "write the worked example anew")

// example is the volume of the worked example in docs/format.md.
type example struct {
	Secret   string                    `json:"secret"` // of the slot, hex
	Records  map[string]string         `json:"records"`
	Segments map[host.SegmentID]string `json:"segments"`
}

const (
	examplePath = "../testdata/vectors/volume.json"
	formatPath  = "../docs/format.md"
)

// TestWorkedExample follows docs/format.md, table by table, from the two records
// of a small volume to the data in it, and compares every dump on the way with
// the page. It uses nothing of package store.
func TestWorkedExample(t *testing.T) {
	if *updateFlag {
		writeExample(t)
	}
	e := readExample(t)
	dumps := e.walk(t)
	page, err := os.ReadFile(formatPath)
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)```hex ([a-z ]+)\n(.*?)```")
	seen := map[string]bool{}
	got := block.ReplaceAllFunc(page, func(b []byte) []byte {
		name := string(block.FindSubmatch(b)[1])
		seen[name] = true
		if dumps[name] == nil {
			t.Errorf("the page shows %q, which the example has not", name)
			return b
		}
		return []byte("```hex " + name + "\n" + dump(dumps[name]) + "```")
	})
	for name := range dumps {
		if !seen[name] {
			t.Errorf("the page does not show %q", name)
		}
	}
	if *updateFlag {
		if err := os.WriteFile(formatPath, got, 0o644); err != nil {
			t.Fatal(err)
		}
	} else if !bytes.Equal(got, page) {
		t.Errorf("%s does not show what the volume of %s holds: go test ./store -run TestWorkedExample -update", formatPath, examplePath)
	}
}

// The volume of the example opens, and holds what it was given.
func TestExampleOpens(t *testing.T) {
	e := readExample(t)
	h := memhost.New(memhost.Options{})
	for name, b := range e.Records {
		h.SetRecord(name, unhex(t, b))
	}
	for id, b := range e.Segments {
		h.SetSegment(id, unhex(t, b))
	}
	for _, readOnly := range []bool{true, false} {
		s, err := store.Open(bg, h, store.Options{Unlocker: storetest.Unlocker("test"), ReadOnly: readOnly})
		if err != nil {
			t.Fatal(err)
		}
		if got := get(t, s, 7); got != "hello" {
			t.Errorf("the item holds %q", got)
		}
		if _, err := s.Check(bg, nil); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil && !readOnly {
			t.Error(err)
		}
	}
}

func writeExample(t *testing.T) {
	t.Helper()
	v := newVault(t)
	put(t, v.s, 7, "hello")
	f := v.s.NewFlush()
	es, err := f.Seal(bg, 7, 0, []byte("the data of object 7"))
	if err != nil {
		t.Fatal(err)
	}
	err = v.s.Update(bg, func(tx *store.Tx) error { return tx.Put(dataKey(7, 20), es[0].Append(nil)) })
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	v.close(t)
	e := example{
		Secret:  hex.EncodeToString(storetest.Secret("test").Key.Bytes()),
		Records: map[string]string{}, Segments: map[host.SegmentID]string{},
	}
	for _, name := range v.host.RecordNames() {
		e.Records[name] = hex.EncodeToString(v.host.Record(name))
	}
	for _, id := range v.host.SegmentIDs() {
		e.Segments[id] = hex.EncodeToString(v.host.Segment(id))
	}
	b, err := json.MarshalIndent(e, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.FromSlash(examplePath), append(b, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}

func readExample(t *testing.T) (e example) {
	t.Helper()
	b, err := os.ReadFile(filepath.FromSlash(examplePath))
	if err == nil {
		err = json.Unmarshal(b, &e)
	}
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// walk returns the dumps of the page by name.
func (e example) walk(t *testing.T) map[string][]byte {
	t.Helper()
	be := binary.BigEndian
	header, sealed := unhex(t, e.Records["header"]), unhex(t, e.Records["root"])
	h, err := seal.ParseHeader(header)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := key.FromBytes(unhex(t, e.Secret))
	if err != nil {
		t.Fatal(err)
	}
	ring, err := h.Unlock(0, secret)
	if err != nil {
		t.Fatal(err)
	}
	vk := ring[1]
	info, err := seal.ParseRoot(sealed)
	if err != nil {
		t.Fatal(err)
	}
	root, err := info.Open(vk)
	if err != nil {
		t.Fatal(err)
	}
	// A frame of a segment whose salt is known.
	open := func(segment uint64, salt []byte, as seal.FrameType, offset, length uint32) []byte {
		t.Helper()
		b := unhex(t, e.Segments[host.SegmentID(segment)])[offset : offset+length]
		p, err := seal.NewSegmentKey(vk, h.Volume, segment, [32]byte(salt)).Open(nil, as, offset, b)
		if err != nil {
			t.Fatalf("frame of type %d at %d:%d: %v", as, segment, offset, err)
		}
		return p
	}
	pp := root[148:]
	page := open(be.Uint64(pp), pp[20:52], seal.FrameTable, be.Uint32(pp[8:]), be.Uint32(pp[12:]))
	salt := func(segment uint64) []byte {
		for en := page; len(en) > 0; en = en[53:] {
			if be.Uint64(en) == segment {
				return en[13:45]
			}
		}
		t.Fatalf("segment %d is not in the table", segment)
		return nil
	}
	nodePtr := root[33:49]
	nodeSegment := be.Uint64(nodePtr)
	node := open(nodeSegment, salt(nodeSegment), seal.FrameNode, be.Uint32(nodePtr[8:]), be.Uint32(nodePtr[12:]))
	extent := node[len(node)-24:] // of the last item
	logSegment := be.Uint64(extent)
	data := open(logSegment, salt(logSegment), seal.FrameData, be.Uint32(extent[8:]), be.Uint32(extent[12:])+16)
	const begin = 4096 + 512 // behind the preamble and the copy of the root
	batch := open(logSegment, salt(logSegment), seal.FrameBatch, begin, 112)
	records := open(logSegment, salt(logSegment), seal.FrameRecords, begin+be.Uint32(batch[20:]), be.Uint32(batch[24:])+16)
	if string(data) != "the data of object 7" {
		t.Fatalf("data %q", data)
	}
	log := unhex(t, e.Segments[host.SegmentID(logSegment)])
	frame := log[be.Uint32(extent[8:]):][:be.Uint32(extent[12:])+16]
	return map[string][]byte{
		"header": header, "preamble": log[:76], "root envelope": sealed[:76], "root": root, "page": page, "node": node,
		"batch": batch, "records": records, "frame": frame, "data": data,
	}
}

// dump writes 16 bytes a line, with their offset.
func dump(b []byte) string {
	var out strings.Builder
	for at := 0; at < len(b); at += 16 {
		line := b[at:min(at+16, len(b))]
		text := []byte(nil)
		for _, c := range line {
			if c < 0x20 || c > 0x7e {
				c = '.'
			}
			text = append(text, c)
		}
		fmt.Fprintf(&out, "%04x  %-47s  %s\n", at, fmt.Sprintf("% x", line), text)
	}
	return out.String()
}

// The limits that docs/format.md names are those of the code.
func TestLimitsTable(t *testing.T) {
	page, err := os.ReadFile(formatPath)
	if err != nil {
		t.Fatal(err)
	}
	for name, n := range map[string]int64{
		"header": seal.MaxHeaderSize, "key slots": seal.MaxSlots, "earlier volume keys": seal.MaxOlder,
		"descriptor of a slot": seal.MaxDescriptorSize, "sealed root": seal.MaxRootSize,
		"batch": store.MaxBatch, "data frame": store.MaxFrame, "one update": store.MaxUpdate,
		"segments of a page": store.PageSegments, "volume, at least": store.MinCapacity, "volume, at most": store.MaxCapacity,
		"segment number": int64(host.MaxSegmentID), "object number": store.MaxObject, "item type": store.MaxType,
		"snapshots": store.MaxSnapshots, "name of a snapshot": store.MaxSnapshotName,
	} {
		if row := fmt.Sprintf("| %s | %d |", name, n); !strings.Contains(string(page), row) {
			t.Errorf("the page has no row %q", row)
		}
	}
}
