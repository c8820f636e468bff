package local

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"

	"go.etcd.io/bbolt"

	"github.com/coffer-fs/coffer/store/host"
)

// A record is stored as 8 bytes of version, big-endian, then the value. Versions
// are the bucket's sequence numbers, so none comes twice in a volume's life.

func (t *tree) get(ctx context.Context, name string) (found host.Record, err error) {
	if err := host.CheckRecord(name, nil); err != nil {
		return found, fmt.Errorf("get record: %w", err)
	}
	err = t.catalog.view(ctx, func(tx *bbolt.Tx) error {
		found, err = recordOf(tx, name)
		return err
	})
	if err != nil {
		return host.Record{}, fmt.Errorf("get record %q: %w", name, err)
	}
	return found, nil
}

// recordOf copies a record out of the mapping.
func recordOf(tx *bbolt.Tx, name string) (host.Record, error) {
	if _, err := epochOf(tx); err != nil {
		return host.Record{}, err
	}
	p := tx.Bucket(recordsBucket).Get([]byte(name))
	switch {
	case p == nil:
		return host.Record{}, host.ErrNotFound
	case len(p) < 8 || len(p) > 8+host.MaxRecordSize:
		return host.Record{}, damaged(fmt.Errorf("record of %d bytes", len(p)))
	}
	return host.Record{
		Value:   bytes.Clone(p[8:]),
		Version: versionOf(binary.BigEndian.Uint64(p)),
	}, nil
}

// recordsOf copies all records, and the epoch.
func recordsOf(records *map[string][]byte, epoch *uint64) func(*bbolt.Tx) error {
	return func(tx *bbolt.Tx) (err error) {
		if *epoch, err = epochOf(tx); err != nil {
			return err
		}
		found := map[string][]byte{}
		err = tx.Bucket(recordsBucket).ForEach(func(name, p []byte) error {
			if host.CheckRecord(string(name), nil) != nil || len(p) < 8 || len(p) > 8+host.MaxRecordSize {
				return damaged(fmt.Errorf("record %.80q of %d bytes", name, len(p)))
			}
			if len(found) == host.MaxPointRecords {
				return fmt.Errorf("there are more than %d records: %w", host.MaxPointRecords, host.ErrInvalid)
			}
			found[string(name)] = bytes.Clone(p[8:])
			return nil
		})
		*records = found
		return err
	}
}

func versionOf(n uint64) host.Version { return host.Version(strconv.FormatUint(n, 10)) }

func (t *tree) swap(ctx context.Context, name string, old host.Version, value []byte) (v host.Version, err error) {
	err = t.catalog.update(ctx, len(value), func(tx *bbolt.Tx) error {
		now, err := recordOf(tx, name)
		if err != nil && !errors.Is(err, host.ErrNotFound) {
			return err
		}
		if now.Version != old {
			return fmt.Errorf("it is in version %q, not %q: %w", now.Version, old, host.ErrConflict)
		}
		b := tx.Bucket(recordsBucket)
		n, err := b.NextSequence()
		if err != nil {
			return err
		}
		v = versionOf(n)
		return b.Put([]byte(name), append(binary.BigEndian.AppendUint64(nil, n), value...))
	})
	if err != nil {
		return "", err
	}
	return v, nil
}
