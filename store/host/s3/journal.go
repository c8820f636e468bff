package s3

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// The journal of Options.Dir (docs/s3.md, "Local journal").
const (
	journalName       = "journal"
	journalMagic      = "coffs3j\x00"
	journalHeaderSize = 8 + 2 + 2 + 8 + 16
	journalRecordSize = 4 + 4 // before an entry
	// maxShippedBatches bounds what one entry of the store takes over of the journal.
	maxShippedBatches = 256
)

// backlog is what was acknowledged and is not in the store. Guarded by writer.mu.
type backlog struct {
	batches []*batch
	bytes   int64
	number  uint64 // of the newest
}

// Lag is what the object store lacks of what was acknowledged.
type Lag struct {
	Changes int           // syncs and swaps
	Bytes   int64         // of segments
	Age     time.Duration // of the oldest
}

// journal is what a directory's journal has.
type journal struct {
	epoch   uint64
	token   [16]byte
	entries []*entry
}

// acknowledge writes a batch to the journal, and leaves it to the shipping.
// Callers hold committing.
func (w *writer) acknowledge(ctx context.Context, b *batch) error {
	w.mu.Lock()
	o := w.volume.options
	err := w.waitFor(func() bool {
		l := w.lag()
		return l.Bytes+b.bytes <= o.LagBytes && l.Age <= o.LagAge || l.Changes == 0
	})
	if err == nil {
		w.backlog.number++
		b.number, b.made = w.backlog.number, time.Now()
	}
	fresh := len(w.backlog.batches) == 0
	w.mu.Unlock()
	if err != nil {
		return w.fail(err) // the batch was taken, and is nowhere
	}
	if len(b.changes) > 0 {
		if fresh {
			err = w.dir.restart()
		}
		if err == nil {
			err = w.dir.write(w.journalEntry(b))
		}
		if err != nil {
			return w.fail(fmt.Errorf("write the journal in %q: %w", w.dir.path, err))
		}
	}
	w.mu.Lock()
	w.backlog.batches = append(w.backlog.batches, b)
	w.backlog.bytes += b.bytes
	w.mu.Unlock()
	select {
	case w.ships <- struct{}{}:
	default:
	}
	return nil
}

// journalEntry is a batch as an entry that has all bytes that are in no object.
func (w *writer) journalEntry(b *batch) []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	e := &entry{kind: entryChanges, epoch: w.epoch, index: b.number, token: w.token}
	for i, c := range b.changes {
		if t := b.parts[i]; t != nil && c.kind == changeBytes && t.data == nil {
			c.kind, c.at, c.data = changeObject, t.object, nil
		}
		e.changes = append(e.changes, c)
	}
	return e.encode()
}

// lag is what the store lacks. Callers hold mu.
func (w *writer) lag() (l Lag) {
	l.Changes, l.Bytes = len(w.backlog.batches), w.backlog.bytes
	if l.Changes > 0 {
		l.Age = time.Since(w.backlog.batches[0].made)
	}
	return l
}

// Lag tells what the object store lacks of what this writer acknowledged. With
// Remote that is nothing.
func (w *writer) Lag() Lag {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lag()
}

// Lag tells what the object store lacks of what the writer of this handle acknowledged.
func (v *Volume) Lag() Lag {
	if w := v.writer.Load(); w != nil {
		return w.Lag()
	}
	return Lag{}
}

// shipInBackground brings what was acknowledged to the store, in order.
func (w *writer) shipInBackground(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.ships:
		}
		for w.shipSome(ctx) {
		}
	}
}

// shipSome makes one entry of the oldest batches.
func (w *writer) shipSome(ctx context.Context) bool {
	var all batch
	w.mu.Lock()
	count := 0
	for _, b := range w.backlog.batches {
		if count == maxShippedBatches || count > 0 && all.bytes+b.bytes > maxPayload {
			break
		}
		count++
		all.changes, all.parts = append(all.changes, b.changes...), append(all.parts, b.parts...)
		all.sent = append(all.sent, b.sent...)
		all.bytes, all.number = all.bytes+b.bytes, b.number
	}
	failed := w.failed
	w.mu.Unlock()
	if count == 0 || failed != nil || ctx.Err() != nil {
		return false
	}
	if err := w.ship(ctx, &all); err != nil {
		w.volume.options.Logger.Error("what was acknowledged cannot be shipped", "changes", count, "error", err)
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.backlog.batches = w.backlog.batches[count:]
	w.backlog.bytes -= all.bytes
	w.changed.Broadcast()
	return true
}

// flushBacklog waits until all is shipped.
func (w *writer) flushBacklog(ctx context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.backlog.batches) == 0 {
		return nil
	}
	if err := w.waitFor(func() bool { return len(w.backlog.batches) == 0 || ctx.Err() != nil }); err != nil {
		return fmt.Errorf("%w: %d changes: %w", ErrUnshipped, len(w.backlog.batches), err)
	}
	return context.Cause(ctx)
}

// write appends an entry to the journal, durably.
func (d *dir) write(raw []byte) error {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(raw)))
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(raw, castagnoli))
	b = append(b, raw...)
	if _, err := d.journal.WriteAt(b, d.size); err != nil {
		return err
	}
	if err := unix.Fdatasync(int(d.journal.Fd())); err != nil {
		return err
	}
	d.size += int64(len(b))
	return nil
}

// restart empties the journal, all of which is shipped.
func (d *dir) restart() error {
	d.size = journalHeaderSize
	return d.journal.Truncate(d.size)
}

// beginJournal makes the journal of an epoch, or none.
func (d *dir) beginJournal(p Durability, s *state) error {
	if p != Local {
		return d.endJournal()
	}
	if d == nil || !d.locked {
		return errNoDir
	}
	f, err := os.OpenFile(filepath.Join(d.path, journalName), os.O_RDWR|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	b := append([]byte(journalMagic), 0, layoutVersion, 0, 0)
	b = binary.BigEndian.AppendUint64(b, s.epoch)
	b = append(b, s.holder.token[:]...)
	d.journal, d.size = f, int64(len(b))
	if _, err := f.WriteAt(b, 0); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return d.sync()
}

// sync makes the names in the directory durable.
func (d *dir) sync() error {
	f, err := os.Open(d.path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// endJournal removes a journal of which everything is shipped.
func (d *dir) endJournal() error {
	if d == nil || !d.locked {
		return nil
	}
	if err := os.Remove(filepath.Join(d.path, journalName)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// readJournal reads what a process left; nil if there is nothing.
func (d *dir) readJournal() (*journal, error) {
	if d == nil {
		return nil, nil
	}
	path := filepath.Join(d.path, journalName)
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) || err == nil && len(b) < journalHeaderSize {
		return nil, nil // it had not begun
	}
	if err != nil {
		return nil, err
	}
	j, err := parseJournal(b)
	if err != nil {
		return nil, fmt.Errorf("%q: %w", path, err)
	}
	return j, nil
}

// parseJournal reads a journal up to its end, or to a record that was cut off or torn:
// only the last one can be, since each was durable before the next. So a bad one with
// a good one behind it is damage, of something that was acknowledged.
func parseJournal(b []byte) (*journal, error) {
	damaged := fmt.Errorf("it is damaged: %w", ErrUnshipped)
	d := &decoder{b: b}
	magic, version, _ := string(d.take(8)), d.u16(), d.u16()
	j := &journal{epoch: d.u64(), token: d.id()}
	if d.bad || magic != journalMagic || version != layoutVersion {
		return nil, damaged
	}
	last := uint64(0)
	for len(d.b) > 0 {
		raw := journalRecord(d.b)
		if raw == nil && j.goesOn(d.b) {
			return nil, damaged
		}
		if raw == nil {
			break
		}
		e, err := parseEntry(raw, j.epoch, binary.BigEndian.Uint64(raw[20:]))
		if err != nil || e.token != j.token || e.index <= last {
			return nil, damaged
		}
		last = e.index
		j.entries = append(j.entries, e)
		d.take(journalRecordSize + len(raw))
	}
	return j, nil
}

// journalRecord is the entry at the begin of b; nil if it is not there whole.
func journalRecord(b []byte) []byte {
	d := &decoder{b: b}
	size, sum := d.u32(), d.u32()
	raw := d.take(int(size))
	if d.bad || len(raw) < entryHeaderSize || crc32.Checksum(raw, castagnoli) != sum {
		return nil
	}
	return raw
}

// goesOn reports whether there is a record behind the one at the begin of b, which is
// not whole. What takes long to tell is no journal that was torn.
func (j *journal) goesOn(b []byte) bool {
	budget := 4 * len(b)
	for at := journalRecordSize + 1; at < len(b); at++ {
		n := bytes.Index(b[at:], []byte(entryMagic))
		if n < 0 {
			return false
		}
		at += n
		size := int(binary.BigEndian.Uint32(b[at-journalRecordSize:]))
		if size > len(b)-at {
			continue
		}
		if budget -= size; budget < 0 || journalRecord(b[at-journalRecordSize:]) != nil {
			return true
		}
	}
	return false
}

// lacks are the entries of a journal that a state does not have.
func (s *state) lacks(j *journal) []*entry {
	if j == nil {
		return nil
	}
	if j.epoch == s.epoch && j.token == s.holder.token {
		for i, e := range j.entries {
			if e.index > s.shipped {
				return j.entries[i:]
			}
		}
		return nil
	}
	return j.entries
}

// checkShipped refuses to go on where a journal has what the volume lacks. One of which
// everything is shipped is removed, before the head says that there is another writer:
// behind that its entries would look like those of a history that was given up.
func (d *dir) checkShipped(s *state) error {
	if d == nil || !d.locked {
		return nil
	}
	j, err := d.readJournal()
	if err != nil {
		return err
	}
	if n := len(s.lacks(j)); n > 0 {
		return fmt.Errorf("%d changes in %q, and the volume went on without them: move that file away to give them up: %w",
			n, filepath.Join(d.path, journalName), ErrUnshipped)
	}
	if j == nil {
		return nil
	}
	if err := d.endJournal(); err != nil {
		return err
	}
	return d.sync()
}

// resume ships what a process that is gone left in the journal, as that one would
// have.
func (a *acquisition) resume(ctx context.Context, v *view) error {
	j, err := a.dir.readJournal()
	if err != nil {
		return err
	}
	left := v.lacks(j)
	if len(left) == 0 || j.epoch != v.epoch || j.token != v.holder.token {
		return nil
	}
	w := a.newWriter(v.state)
	var high [4]byte
	rand.Read(high[:])
	w.numbers.Store(1<<63 | uint64(binary.BigEndian.Uint32(high[:]))<<31) // names that it did not use
	for _, e := range left {
		for i := range e.changes {
			if c := &e.changes[i]; c.kind == changeBytes {
				c.at = place{} // that was one in the journal
			}
		}
		if err := w.ship(ctx, &batch{changes: e.changes, parts: make([]*part, len(e.changes)), number: e.index}); err != nil {
			return err
		}
	}
	w.work.Wait()
	a.resumed = append(a.resumed, w.logs...)
	a.options.Logger.Info("shipped what a process before had acknowledged", "changes", len(left))
	return nil
}
