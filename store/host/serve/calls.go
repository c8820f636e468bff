package serve

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"strconv"
	"strings"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/local"
	"github.com/coffer-fs/coffer/store/host/remote/wire"
)

// usager is what a volume has that knows what it takes.
type usager interface {
	Usage(ctx context.Context) (local.Usage, error)
}

// filer is what a reader has whose segments are files.
type filer interface {
	SegmentFile(ctx context.Context, id host.SegmentID) (*os.File, error)
}

func (c *call) status() error {
	v, err := c.backend.Open(c.volume())
	if err != nil {
		return err
	}
	defer v.Close()
	var st wire.Status
	if u, ok := v.(usager); ok {
		usage, err := u.Usage(c.r.Context())
		if err != nil {
			return err
		}
		st = wire.Status{SegmentBytes: usage.SegmentBytes, SpareBytes: usage.SpareBytes, HeldBytes: usage.HeldBytes, CatalogBytes: usage.CatalogBytes, FreeBytes: usage.FreeBytes}
	}
	if b, ok := v.(shared); ok {
		there, err := b.Status(c.r.Context())
		if err != nil {
			return err
		}
		st.SegmentBytes = there.Bytes
	}
	p, done := c.place(c.volume())
	defer done()
	p.mu.Lock()
	if p.lease != nil {
		st.Held, st.Owner = true, p.lease.owner
	}
	p.mu.Unlock()
	b, err := json.Marshal(st)
	if err != nil {
		return err
	}
	return c.answer("application/json", b)
}

func (c *call) create() error {
	if err := c.backend.Create(c.volume()); err != nil {
		return err
	}
	c.options.Logger.Info("volume made", "volume", c.volume())
	return c.ok()
}

func (c *call) acquire() error {
	token, err := c.leaseToken()
	if err != nil {
		return err
	}
	q, err := c.decodeLease()
	if err != nil {
		return err
	}
	l, err := c.Server.acquire(c.r.Context(), c.volume(), token, q)
	if err != nil {
		return err
	}
	c.shown(l)
	l.mu.RLock() // another one may have taken the volume over already
	c.sayForgetting(l)
	l.mu.RUnlock()
	return c.ok()
}

// sayForgetting puts into an answer what host.Forgetter tells. l.mu is held.
func (c *call) sayForgetting(l *lease) {
	if f, ok := l.writer.(host.Forgetter); ok && f.Forgetting() {
		c.w.Header().Set(wire.HeaderForget, "1")
	}
}

// ping shows that the holder is there.
func (c *call) ping() error {
	_, done, err := c.lease()
	if err != nil {
		return err
	}
	done()
	return c.ok()
}

func (c *call) release() error {
	token, err := c.leaseToken()
	if err != nil {
		return err
	}
	c.Server.release(c.volume(), token)
	return c.ok()
}

func (c *call) getRecord() error {
	r, done, err := c.reader()
	if err != nil {
		return err
	}
	defer done()
	rec, err := r.Get(c.r.Context(), c.r.PathValue("record"))
	if err != nil {
		return err
	}
	c.w.Header().Set("Etag", wire.Quote(rec.Version))
	return c.answer(wire.ContentType, rec.Value)
}

func (c *call) swapRecord() error {
	old, err := c.oldVersion()
	if err != nil {
		return err
	}
	value, err := c.body(host.MaxRecordSize)
	if err != nil {
		return err
	}
	l, done, err := c.lease()
	if err != nil {
		return err
	}
	defer done()
	v, err := l.writer.Swap(c.r.Context(), c.r.PathValue("record"), old, value)
	if err != nil {
		return err
	}
	c.w.Header().Set("Etag", wire.Quote(v))
	return c.ok()
}

// oldVersion is the state in which a record must be, in the words of HTTP.
func (c *call) oldVersion() (host.Version, error) {
	h := c.r.Header
	if h.Get("If-None-Match") == "*" && h.Get("If-Match") == "" {
		return "", nil
	}
	v, err := wire.Unquote(h.Get("If-Match"))
	if err != nil || h.Get("If-None-Match") != "" {
		return "", invalid("If-Match or If-None-Match: %v", err)
	}
	return v, nil
}

func (c *call) listSegments() error {
	r, done, err := c.reader()
	if err != nil {
		return err
	}
	defer done()
	infos, err := r.Segments(c.r.Context())
	if err != nil {
		return err
	}
	if len(infos) > wire.MaxListed {
		return fmt.Errorf("there are %d segments, more than %d", len(infos), wire.MaxListed)
	}
	return c.answer(wire.ContentType, wire.AppendInfos(nil, infos))
}

// maxReopens bounds how often the file of a segment is asked for, because others
// closed it meanwhile.
const maxReopens = 8

func (c *call) readSegment() error {
	id, err := c.segmentID()
	if err != nil {
		return err
	}
	off, size, err := parseRange(c.r.Header.Get("Range"))
	if err != nil {
		return err
	}
	if err := host.CheckSegment(id, off, int(size)); err != nil {
		return err
	}
	r, done, err := c.reader()
	if err != nil {
		return err
	}
	defer done()
	c.limit(size)
	if f, ok := r.(filer); ok {
		return c.sendFile(f, id, off, size)
	}
	b := make([]byte, size)
	n, err := r.Read(c.r.Context(), id, off, b)
	if n == 0 && size > 0 && errors.Is(err, io.ErrUnexpectedEOF) {
		return errEnd
	}
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	c.partial(int64(n))
	_, _ = c.w.Write(b[:n])
	return nil
}

// sendFile sends a range of a segment, as far as there is one.
func (c *call) sendFile(from filer, id host.SegmentID, off, size int64) error {
	for try := 0; ; try++ {
		f, err := from.SegmentFile(c.r.Context(), id)
		if err != nil {
			return err
		}
		info, err := f.Stat()
		if errors.Is(err, os.ErrClosed) && try < maxReopens {
			continue
		} else if err != nil {
			return err
		}
		if off >= info.Size() {
			return errEnd
		}
		s := &section{f, off, min(size, info.Size()-off)}
		c.partial(s.left)
		if to, ok := c.w.(io.ReaderFrom); ok {
			_, err = to.ReadFrom(s)
		} else {
			_, err = io.Copy(c.w, s)
		}
		if err != nil {
			panic(http.ErrAbortHandler) // the client learns by the length that it is cut
		}
		return nil
	}
}

// partial begins the answer to a read.
func (c *call) partial(size int64) {
	h := c.w.Header()
	h.Set("Content-Type", wire.ContentType)
	h.Set("Content-Length", strconv.FormatInt(size, 10))
	c.w.WriteHeader(http.StatusPartialContent)
}

// parseRange reads "bytes=FIRST-LAST": one range, with both ends.
func parseRange(s string) (off, size int64, err error) {
	first, last, ok := strings.Cut(strings.TrimPrefix(s, "bytes="), "-")
	a, errA := strconv.ParseInt(first, 10, 64)
	b, errB := strconv.ParseInt(last, 10, 64)
	if !ok || errA != nil || errB != nil || a < 0 || b < a || b == math.MaxInt64 || b-a >= host.MaxSegmentSize {
		return 0, 0, invalid("range %.60q", s)
	}
	return a, b - a + 1, nil
}

// createSegment makes a segment, or adopts one if the client says where it ends.
func (c *call) createSegment() error {
	id, err := c.segmentID()
	if err != nil {
		return err
	}
	capacity, err := c.number("capacity")
	if err != nil {
		return err
	}
	l, done, err := c.lease()
	if err != nil {
		return err
	}
	defer done()
	if c.r.URL.Query().Has("tail") {
		tail, err := c.number("tail")
		if err != nil {
			return err
		}
		return c.adoptSegment(l, id, capacity, tail)
	}
	if capacity <= 0 || capacity > host.MaxSegmentSize {
		return invalid("capacity is %d bytes", capacity)
	}
	g := l.segment(id)
	g.mu.Lock()
	defer g.mu.Unlock()
	if q := c.request(); q != "" && g.request == q {
		return c.ok() // it is done, and the answer was lost
	}
	if err := l.reserve(id, capacity); err != nil {
		if errors.Is(err, host.ErrExists) { // unless the writer is fenced
			return l.writer.Create(c.r.Context(), id, capacity)
		}
		return errors.Join(fenced(c.r.Context(), l), err)
	}
	if err := l.writer.Create(c.r.Context(), id, capacity); err != nil {
		l.free(id)
		return err
	}
	l.remember(id, c.request())
	return c.ok()
}

// fenced returns the error of a writer that lost the volume.
func fenced(ctx context.Context, l *lease) error {
	if _, err := l.writer.Get(ctx, "none"); errors.Is(err, host.ErrFenced) {
		return err
	}
	return nil
}

// request is the mark by which a call is known when it comes again.
func (c *call) request() string {
	if q := c.r.Header.Get(wire.HeaderRequest); len(q) <= 16 {
		return q
	}
	return ""
}

func (c *call) adoptSegment(l *lease, id host.SegmentID, capacity, tail int64) error {
	a, ok := l.writer.(adopter)
	if !ok {
		return invalid("this volume can't be resumed")
	}
	g := l.segment(id)
	g.mu.Lock()
	defer g.mu.Unlock()
	made := false
	if err := l.reserve(id, capacity); err == nil {
		made = true
	} else if !errors.Is(err, host.ErrExists) {
		return err
	}
	if err := a.Adopt(c.r.Context(), id, capacity, tail); err != nil {
		if made {
			l.free(id)
		}
		return err
	}
	g.request = ""
	return c.ok()
}

// appendSegment appends, and syncs if that is asked for. An append that comes
// again is not made twice, but synced.
func (c *call) appendSegment() error {
	id, err := c.segmentID()
	if err != nil {
		return err
	}
	off, err := c.number("offset")
	if err != nil {
		return err
	}
	if err := host.CheckSegment(id, off, int(min(max(c.r.ContentLength, 0), host.MaxSegmentSize))); err != nil {
		return err
	}
	synced, err := wire.ParseIDsText(c.r.Header.Get(wire.HeaderSync))
	if err != nil {
		return err
	}
	b, free, err := c.largeBody()
	if err != nil {
		return err
	}
	defer free()
	l, done, err := c.lease()
	if err != nil {
		return err
	}
	defer done()
	if err := c.appendOnce(l, id, off, b); err != nil {
		return err
	}
	if len(synced) > 0 {
		if err := l.writer.Sync(c.r.Context(), synced...); err != nil {
			return unsynced(err)
		}
	}
	return c.ok()
}

// unsynced hides which error a sync gave after an append that had an effect,
// unless the writer lost the volume: no code may say that nothing happened.
func unsynced(err error) error {
	if errors.Is(err, host.ErrFenced) {
		return err
	}
	return fmt.Errorf("sync after append: %v", err)
}

func (c *call) appendOnce(l *lease, id host.SegmentID, off int64, b []byte) error {
	g := l.segment(id)
	g.mu.Lock()
	defer g.mu.Unlock()
	q := c.request()
	if q != "" && g.request == q {
		return nil
	}
	if err := l.writer.Append(c.r.Context(), id, off, b); err != nil {
		return err
	}
	g.request = q
	return nil
}

func (c *call) deleteSegment() error {
	id, err := c.segmentID()
	if err != nil {
		return err
	}
	l, done, err := c.lease()
	if err != nil {
		return err
	}
	defer done()
	if err := l.writer.Delete(c.r.Context(), id); err != nil {
		return err
	}
	l.free(id)
	return c.ok()
}

func (c *call) sync() error {
	b, err := c.body(wire.MaxSynced * 8)
	if err != nil {
		return err
	}
	ids, err := wire.ParseIDs(b)
	if err != nil {
		return err
	}
	l, done, err := c.lease()
	if err != nil {
		return err
	}
	defer done()
	if err := l.writer.Sync(c.r.Context(), ids...); err != nil {
		return err
	}
	return c.ok()
}

// forget has the volume forget what was deleted, if it keeps anything of it.
func (c *call) forget() error {
	more, err := strconv.ParseBool(c.r.URL.Query().Get("more"))
	if err != nil {
		return invalid("more is %.40q", c.r.URL.Query().Get("more"))
	}
	l, done, err := c.lease()
	if err != nil {
		return err
	}
	defer done()
	if f, ok := l.writer.(host.Forgetter); ok {
		if err := f.Forget(c.r.Context(), more); err != nil {
			return err
		}
	}
	c.sayForgetting(l)
	return c.ok()
}

// prepare makes segments ready, if the volume can.
func (c *call) prepare() error {
	capacity, err := c.number("capacity")
	if err != nil {
		return err
	}
	count, err := c.number("count")
	if err != nil {
		return err
	}
	l, done, err := c.lease()
	if err != nil {
		return err
	}
	defer done()
	if p, ok := l.writer.(host.Preparer); ok {
		if err := p.Prepare(c.r.Context(), capacity, int(min(count, maxPrepared))); err != nil {
			return err
		}
	}
	return c.ok()
}
