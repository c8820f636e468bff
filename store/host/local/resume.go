package local

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/coffer-fs/coffer/store/host"
)

// A holder that is no process of this machine, but served by one, proves by a
// token that it is the same one after that process was started anew. Of the
// token only the hash is kept, in the transaction that begins an epoch: so it is
// that of whoever acquired the volume last, and nobody else's.

// AcquireAs is Acquire for a holder that may come back with its token.
func (v *Volume) AcquireAs(ctx context.Context, o host.AcquireOptions, token [32]byte) (host.Writer, error) {
	return v.acquire(ctx, terms{AcquireOptions: o, lease: hashOf(token)})
}

// Resume is Acquire for the holder whose token it is, if nobody acquired the
// volume since: else ErrFenced. Whoever still served that holder is fenced. The
// new writer may Adopt segments.
func (v *Volume) Resume(ctx context.Context, o host.AcquireOptions, token [32]byte) (host.Writer, error) {
	return v.acquire(ctx, terms{AcquireOptions: o, lease: hashOf(token), resume: true})
}

func hashOf(token [32]byte) []byte {
	h := sha256.Sum256(token[:])
	return h[:]
}

func sameLease(stored, given []byte) bool {
	return len(stored) == sha256.Size && subtle.ConstantTimeCompare(stored, given) == 1
}

// Adopt lets a resumed writer go on with a segment that its holder made before,
// at tail. If the segment is gone, which a crash of the machine may have done to
// one that was never synced, it is made anew: then tail must be 0.
func (w *writer) Adopt(ctx context.Context, id host.SegmentID, capacity, tail int64) error {
	err := host.CheckSegment(id, tail, 0)
	if err == nil && (capacity <= 0 || capacity > host.MaxSegmentSize || tail > capacity || !w.resumed) {
		err = host.ErrInvalid
	}
	if err == nil {
		err = w.changing(ctx, func() error { return w.adopt(id, capacity, tail) })
	}
	if err != nil {
		return fmt.Errorf("adopt segment %d of %d bytes at %d: %w", id, capacity, tail, err)
	}
	return nil
}

func (w *writer) adopt(id host.SegmentID, capacity, tail int64) error {
	w.state.Lock()
	a := w.appenders[id]
	w.state.Unlock()
	if a != nil {
		return a.rewind(capacity, tail)
	}
	file, err := openFile(w.tree.segments, segmentName(id), unix.O_RDWR)
	if errors.Is(err, os.ErrNotExist) && tail == 0 {
		return w.create(id, capacity)
	} else if errors.Is(err, os.ErrNotExist) {
		return host.ErrNotFound
	} else if err != nil {
		return err
	}
	info, err := file.Stat()
	if err == nil && info.Size() != capacity {
		err = fmt.Errorf("it has %d bytes: %w", info.Size(), host.ErrInvalid)
	}
	if err == nil {
		file, err = w.ownTail(file, id, capacity, tail)
	}
	if err != nil {
		file.Close()
		return err
	}
	w.closeIdle()
	w.state.Lock()
	defer w.state.Unlock()
	// What was written before may not be on the disk, nor that it exists.
	w.appenders[id] = &appender{id: id, capacity: capacity, file: file, tails: w.tails, fresh: true, dirty: true, tail: tail}
	return nil
}

// ownTail makes sure that what is appended at tail overwrites nothing that a point
// has of the segment. If it is noted where the appends ended, what comes from tail
// to there is what was there before. If it is not, a point may have all of the file;
// so the segment goes on in another one.
func (w *writer) ownTail(file *os.File, id host.SegmentID, capacity, tail int64) (*os.File, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &st); err != nil {
		return file, err
	}
	end, noted := w.tails.noted(id)
	if !noted && st.Nlink > 1 {
		own, err := w.tree.copySegment(file, id, capacity, tail)
		if err != nil {
			return file, err
		}
		file.Close()
		file = own
		w.tree.files.forget(id)
	}
	return file, w.tails.set(id, max(tail, end))
}

// copySuffix ends the name of a segment that is being copied.
const copySuffix = ".copy"

// copySegment puts a copy of a segment's first size bytes in its place.
func (t *tree) copySegment(file *os.File, id host.SegmentID, capacity, size int64) (*os.File, error) {
	t.copies.Lock()
	defer t.copies.Unlock()
	name := segmentName(id) + copySuffix
	removeAt(t.segments, name, 0)
	own, err := openFile(t.segments, name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL)
	if err != nil {
		return nil, err
	}
	if err = setAside(own, capacity); isNoSpace(err) {
		err = fmt.Errorf("%w: %w", host.ErrNoSpace, err)
	}
	if err == nil {
		_, err = io.Copy(io.NewOffsetWriter(own, 0), io.NewSectionReader(file, 0, size))
	}
	if err == nil {
		err = renameOver(t.segments, name, t.segments, segmentName(id))
	}
	if err != nil {
		own.Close()
		return nil, errors.Join(err, removeAt(t.segments, name, 0))
	}
	return own, nil
}

// rewind puts the tail where the holder of a resumed writer says that it is.
func (a *appender) rewind(capacity, tail int64) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.gone:
		return host.ErrNotFound
	case a.failed != nil:
		return fmt.Errorf("after a failed append: %w", a.failed)
	case a.capacity != capacity:
		return fmt.Errorf("capacity is %d bytes: %w", a.capacity, host.ErrInvalid)
	}
	a.tail = tail
	return nil
}

// SegmentFile gives the file of a segment, to be read while it is open: others
// may close it, and then it is to be asked for again.
func (v *Volume) SegmentFile(ctx context.Context, id host.SegmentID) (*os.File, error) {
	done, err := v.use(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	v.tree.files.forgetReplaced(id)
	return v.tree.files.get(id)
}

// SegmentFile is that of Volume, unless the writer is fenced.
func (w *writer) SegmentFile(ctx context.Context, id host.SegmentID) (f *os.File, err error) {
	err = w.reading(ctx, "read segment", func() (err error) {
		f, err = w.tree.files.get(id)
		return err
	})
	return f, err
}
