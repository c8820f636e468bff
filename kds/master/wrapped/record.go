package wrapped

import (
	"bytes"
	"context"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/internal/lists"
	"github.com/coffer-fs/coffer/kds/internal/secretfile"
	"github.com/coffer-fs/coffer/key"
)

// The record is a table in docs/protocol.md, "Wrapped master keys".
const (
	recordLabel     = "coffer/kds/v1/wrapped master key"
	commitmentLabel = "coffer/kds/v1/wrapped master key commitment"
	recordParts     = 7
)

// head is what all records of a service have in common.
type head struct {
	kind, typ kds.MasterKeyType
	name      string
}

// record is a wrapped master key.
type record struct {
	head
	generation kds.Generation
	id         string // of the KEK's version
	commitment []byte
	wrapped    []byte
}

// public is all but the wrapped key: the wrapping authenticates it.
func (r record) public() []byte {
	return key.Info(recordLabel, []byte(r.kind), []byte(r.typ), []byte(r.name), u32(r.generation), []byte(r.id), r.commitment)
}

func (r record) encode() []byte {
	b := r.public()
	b = binary.BigEndian.AppendUint32(b, uint32(len(r.wrapped)))
	return append(b, r.wrapped...)
}

func u32(g kds.Generation) []byte { return binary.BigEndian.AppendUint32(nil, uint32(g)) }

// parse reads a record to its last byte. Nothing of it is authenticated.
func parse(b []byte) (record, error) {
	p, err := lists.Parse(b, recordLabel, recordParts)
	if err != nil {
		return record{}, fmt.Errorf("%w: %w", ErrRecord, err)
	}
	g, err := lists.U32(p[3])
	if err != nil {
		return record{}, fmt.Errorf("%w: %w", ErrRecord, err)
	}
	r := record{head: head{kds.MasterKeyType(p[0]), kds.MasterKeyType(p[1]), string(p[2])}, generation: kds.Generation(g),
		id: string(p[4]), commitment: p[5], wrapped: p[6]}
	if len(r.id) == 0 || len(r.id) > MaxIDBytes || len(r.commitment) != key.Size || len(r.wrapped) == 0 {
		return record{}, fmt.Errorf("%w: a part has an impossible size", ErrRecord)
	}
	return r, nil
}

// commitment names a master key without telling it.
func (h head) commitment(g kds.Generation, mk key.Key) []byte {
	c := mk.Derive(nil, commitmentLabel, []byte(h.kind), []byte(h.typ), []byte(h.name), u32(g))
	defer c.Destroy()
	return bytes.Clone(c.Bytes())
}

// unwrap opens a record that is for this service and place.
func (r record) unwrap(ctx context.Context, kek KEK) (key.Key, error) {
	mk, err := kek.Unwrap(ctx, r.id, r.wrapped, r.public())
	if err != nil {
		return key.Key{}, err
	}
	if subtle.ConstantTimeCompare(r.commitment, r.head.commitment(r.generation, mk)) != 1 {
		mk.Destroy()
		return key.Key{}, fmt.Errorf("%w: its key is not the one that it names", ErrRecord)
	}
	return mk, nil
}

// dir is where the records of a service are.
type dir struct {
	path string
	head
}

// file is where the record of a generation is.
func (d dir) file(g kds.Generation) string {
	return filepath.Join(d.path, fmt.Sprintf("master-%s-%d.wrapped", d.kind, g))
}

// wrap makes the record of a new master key.
func (d dir) wrap(ctx context.Context, kek KEK, g kds.Generation, mk key.Key) (record, error) {
	id, err := kek.Current(ctx)
	if err != nil {
		return record{}, err
	}
	r := record{head: d.head, generation: g, id: id, commitment: d.commitment(g, mk)}
	r.wrapped, err = kek.Wrap(ctx, id, mk, r.public())
	if err != nil {
		return record{}, err
	}
	if _, err := parse(r.encode()); err != nil { // what cannot be read again is lost
		return record{}, err
	}
	return r, nil
}

func (d dir) write(r record) error { return secretfile.CreateBytes(d.file(r.generation), r.encode()) }

// all reads the records from generation 1 on. They have no gaps: a generation
// that was lost must not become another one.
func (d dir) all() ([]record, error) {
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return nil, fmt.Errorf("read wrapped master keys: %w", err)
	}
	count := 0
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), fmt.Sprintf("master-%s-", d.kind)) && strings.HasSuffix(e.Name(), ".wrapped") {
			count++
		}
	}
	if count > MaxGenerations {
		return nil, fmt.Errorf("%w: %d generations, at most %d are read", ErrRecord, count, MaxGenerations)
	}
	var records []record
	for g := kds.Generation(1); int(g) <= count; g++ {
		r, err := d.read(g)
		if err != nil {
			return nil, err
		}
		records = append(records, r)
	}
	return records, nil
}

// read reads the record of a generation, and refuses one of another place.
func (d dir) read(g kds.Generation) (record, error) {
	path := d.file(g)
	b, err := readFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return record{}, fmt.Errorf("%w: %q is missing, and there are others", ErrRecord, path)
	}
	if err != nil {
		return record{}, fmt.Errorf("read wrapped master key: %w", err)
	}
	r, err := parse(b)
	if err != nil {
		return record{}, fmt.Errorf("read %q: %w", path, err)
	}
	for _, c := range []struct{ what, is, want string }{
		{"kind", string(r.kind), string(d.kind)},
		{"type", string(r.typ), string(d.typ)},
		{"service", r.name, d.name},
		{"generation", fmt.Sprint(r.generation), fmt.Sprint(g)},
	} {
		if c.is != c.want {
			return record{}, fmt.Errorf("read %q: %w: it is for the %s %.64q, want %q", path, ErrRecord, c.what, c.is, c.want)
		}
	}
	return r, nil
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > MaxRecordBytes {
		return nil, fmt.Errorf("%w: %q is not a file of at most %d bytes", ErrRecord, path, MaxRecordBytes)
	}
	return io.ReadAll(io.LimitReader(f, MaxRecordBytes))
}
