package local

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/point"
)

// receivedKey has, in the catalog's bucket "volume": 16 bytes id, u64 taken, u64 at,
// u64 sequence of the records when they came, name. Every swap of a record gives the
// records another sequence.
var receivedKey = []byte("received")

const receivedFixed = 16 + 8 + 8 + 8

// Received implements host.PointKeeper.
func (v *Volume) Received(ctx context.Context) (r host.Received, ok bool, err error) {
	done, err := v.use(ctx)
	if err != nil {
		return r, false, fmt.Errorf("look whether the volume was received: %w", err)
	}
	defer done()
	return v.tree.received(ctx)
}

func (t *tree) received(ctx context.Context) (r host.Received, ok bool, err error) {
	err = t.catalog.view(ctx, func(tx *bbolt.Tx) error {
		if _, err := epochOf(tx); err != nil {
			return err
		}
		b := tx.Bucket(volumeBucket).Get(receivedKey)
		if b == nil {
			return nil
		}
		if len(b) < receivedFixed || len(b) > receivedFixed+host.MaxRecordName {
			return damaged(errors.New("the note of where it came from"))
		}
		copy(r.Point[:], b)
		r.Taken = time.Unix(0, int64(binary.BigEndian.Uint64(b[16:])))
		r.At = time.Unix(0, int64(binary.BigEndian.Uint64(b[24:])))
		r.Changed = binary.BigEndian.Uint64(b[32:]) != tx.Bucket(recordsBucket).Sequence()
		r.Name, ok = string(b[receivedFixed:]), true
		return nil
	})
	return r, ok, err
}

// putReceived makes the records those of m, and notes that they came with it.
func putReceived(tx *bbolt.Tx, m point.Manifest) error {
	records := tx.Bucket(recordsBucket)
	var others [][]byte
	err := records.ForEach(func(name, _ []byte) error {
		if _, ok := m.Records[string(name)]; !ok {
			others = append(others, slices.Clone(name))
		}
		return nil
	})
	for _, name := range others {
		err = errors.Join(err, records.Delete(name))
	}
	if err == nil {
		err = putRecords(records, m.Records)
	}
	if err != nil {
		return err
	}
	b := slices.Clone(m.ID[:])
	b = binary.BigEndian.AppendUint64(b, uint64(max(m.Taken.UnixNano(), 0)))
	b = binary.BigEndian.AppendUint64(b, uint64(time.Now().UnixNano()))
	b = binary.BigEndian.AppendUint64(b, records.Sequence())
	return tx.Bucket(volumeBucket).Put(receivedKey, append(b, m.Name...))
}

// putRecords puts records, each in a state that it never was in.
func putRecords(b *bbolt.Bucket, records map[string][]byte) error {
	for _, name := range slices.Sorted(maps.Keys(records)) {
		n, err := b.NextSequence()
		if err == nil {
			err = b.Put([]byte(name), append(binary.BigEndian.AppendUint64(nil, n), records[name]...))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// recordBytes is about how much of the catalog records take.
func recordBytes(records map[string][]byte) (n int) {
	for name, value := range records {
		n += len(name) + len(value) + 64
	}
	return n
}
