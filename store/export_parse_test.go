package store

import (
	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/seal"
)

// Limits and sizes that docs/format.md names.
const (
	MaxBatch       = maxBatch
	PageSegments   = pageSegments
	EntrySize      = entrySize
	ExtentOverhead = extentOverhead
)

// ReencodeRoot decodes the plaintext of a root and encodes it again.
func ReencodeRoot(b []byte) ([]byte, error) {
	r, err := parseRoot(b)
	return r.encode(), err
}

// ReencodePage does the same to a page of the segment table.
func ReencodePage(b []byte) ([]byte, error) {
	es, err := parsePage(b)
	return encodePage(es), err
}

// ReencodeBatchHeader does the same to the header of a batch, which has so much
// room in its segment.
func ReencodeBatchHeader(b []byte, room uint32) ([]byte, error) {
	h, err := parseBatchHeader(b, room)
	return h.encode(), err
}

// ReencodeRecords does the same to the records of a batch.
func ReencodeRecords(b []byte) (out []byte, err error) {
	err = parseRecords(b, func(r record) error {
		switch {
		case r.change != nil:
			out = r.change.append(out)
		case r.frame != nil:
			out = r.frame.append(out)
		case r.segment != nil:
			out = appendSegmentRecord(out, r.segment)
		}
		return nil
	})
	return out, err
}

// BatchPlainSize is the length of a batch header's plaintext.
const BatchPlainSize = batchHeaderSize - seal.TagSize

// Miscount spoils the accounting of a segment.
func (s *Store) Miscount(id host.SegmentID, n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.table.byID[id].live += n
}

// EncodeSnapshot encodes the record of a snapshot.
func EncodeSnapshot(sequence uint64, time int64, objects, bytes uint64, name string) []byte {
	return (&snapshot{sequence: sequence, time: time, objects: objects, bytes: bytes, name: name}).encode()
}

// ReencodeSnapshot decodes the record of a snapshot and encodes it again.
func ReencodeSnapshot(layer uint64, b []byte) ([]byte, error) {
	p, err := parseSnapshot(Key{Object: ownObject, Type: typeSnapshot, Sub: layer}, b)
	if err != nil {
		return nil, err
	}
	return p.encode(), nil
}

// ReencodeSpan decodes what an item of a layer says of an object's data, and makes
// that item again.
func ReencodeSpan(k Key, value []byte) (Key, []byte, error) {
	l, plain, _ := splitKey(k)
	p, err := spanOf(k, value)
	if err != nil {
		return k, nil, err
	}
	c := p.item(l, plain.Object)
	return c.key, c.value, nil
}
