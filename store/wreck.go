package store

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/coffer-fs/coffer/key"
	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/seal"
)

// Bounds of what is kept of a host's word while a wreck is searched.
const (
	maxHeadersFound = 256
	maxRootsFound   = 64
	maxUnlockTries  = 16
)

// wreck is what is found of a volume whose records are not relied on: every
// header and every root that its key opens, wherever a copy lies. Nothing is
// believed that does not open. It is used by one goroutine.
type wreck struct {
	ctx     context.Context
	reader  host.Reader
	options Options

	listed  []host.SegmentInfo // by number
	claims  map[host.SegmentID]*segment
	public  [][]byte          // headers as found, distinct
	keys    []seal.SlotSecret // what the unlocker gave
	asked   [][]Slot          // what it was asked for in vain
	refused error             // its first refusal
	volume  [16]byte
	headers []foundHeader // that opened, the newest first
	ring    seal.Keyring
	roots   []foundRoot // that opened, the newest first
	locked  uint64      // the highest sequence that a root claims under a key we do not have
	unread  unread      // what the host failed to give
}

// unread counts what could not be read, though it may be there: what lies at a bad
// place of a disk, or behind a call that failed, is not known.
type unread struct {
	count int
	first error
}

// errShort is said of a host that gave less than was asked for, and no cause.
var errShort = errors.New("the host gave a part, and did not say why")

// note takes note of the error of a read, unless it is that there is nothing there.
func (u *unread) note(err error) {
	if err == nil || isNotFound(err) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || isOver(err) {
		return
	}
	u.count++
	u.first = cmp.Or(u.first, err)
}

// tell says with an error what could not be read: that may be its cause.
func (u *unread) tell(err error) error {
	if err == nil || u.count == 0 || isOver(err) {
		return err
	}
	return fmt.Errorf("%w; %d places could not be read, the first: %w", err, u.count, u.first)
}

// foundHeader is a header that the key opens.
type foundHeader struct {
	seal.Header
	secret seal.SlotSecret
	ring   seal.Keyring
}

// foundRoot is a root that a volume key opens, and where it lies: segment 0 is
// the host's record.
type foundRoot struct {
	root
	sealed  []byte
	segment host.SegmentID
	offset  int64
}

func (r foundRoot) place() string {
	if r.segment == 0 {
		return "the host's record"
	}
	return fmt.Sprintf("segment %d, offset %d", r.segment, r.offset)
}

// findWreck searches the host: for headers, which it unlocks, then for roots.
func findWreck(ctx context.Context, r host.Reader, o Options, volume [16]byte) (*wreck, error) {
	o = o.withDefaults()
	o.ReadOnly = true
	w := &wreck{ctx: ctx, reader: r, options: o, volume: volume, claims: map[host.SegmentID]*segment{}, ring: seal.Keyring{}}
	err := w.list()
	if err == nil {
		err = w.findHeaders()
	}
	if err == nil {
		err = w.findRoots()
	}
	if err != nil {
		w.close()
		return nil, w.unread.tell(err)
	}
	return w, nil
}

// close destroys the keys. Stores that came from the wreck are not used any more.
func (w *wreck) close() {
	for _, k := range w.keys {
		k.Key.Destroy()
	}
	for _, h := range w.headers {
		for _, vk := range h.ring {
			vk.Destroy()
		}
	}
}

func (w *wreck) list() (err error) {
	if w.listed, err = w.reader.Segments(w.ctx); err != nil {
		return fmt.Errorf("list segments: %w", err)
	}
	w.listed = slices.DeleteFunc(w.listed, func(i host.SegmentInfo) bool { return i.ID == 0 || i.ID > host.MaxSegmentID })
	slices.SortFunc(w.listed, func(a, b host.SegmentInfo) int { return cmp.Compare(b.ID, a.ID) })
	w.listed = slices.CompactFunc(w.listed, func(a, b host.SegmentInfo) bool { return a.ID == b.ID })
	w.listed = w.listed[:min(len(w.listed), maxSegments)] // the newest numbers
	return nil
}

// findHeaders collects the headers in the record, in preambles and behind
// checkpoints, and opens what it can.
func (w *wreck) findHeaders() error {
	w.header(w.record(recordHeader))
	b := make([]byte, seal.PreambleSize)
	for _, i := range w.listed {
		if err := w.ctx.Err(); err != nil {
			return err
		}
		if w.readSome(i.ID, 0, b) != len(b) {
			continue
		}
		p, err := seal.ParsePreamble(b)
		if err != nil || p.Number != uint64(i.ID) {
			continue
		}
		w.claims[i.ID] = &segment{id: i.ID, kind: p.Kind, generation: p.Generation, salt: p.Salt}
		w.header(p.Header)
	}
	return w.unlockAll()
}

// header takes note of a header, once.
func (w *wreck) header(b []byte) {
	h, err := seal.ParseHeader(b)
	if err != nil || w.volume != [16]byte{} && h.Volume != w.volume ||
		slices.ContainsFunc(w.public, func(o []byte) bool { return bytes.Equal(o, b) }) {
		return
	}
	if len(w.public) == maxHeadersFound {
		oldest := 0
		for i := range w.public {
			if headerSequence(w.public[i]) < headerSequence(w.public[oldest]) {
				oldest = i
			}
		}
		if headerSequence(w.public[oldest]) >= h.Sequence {
			return
		}
		w.public = slices.Delete(w.public, oldest, oldest+1)
	}
	w.public = append(w.public, bytes.Clone(b))
}

func headerSequence(b []byte) uint64 {
	h, _ := seal.ParseHeader(b) // it was parsed before
	return h.Sequence
}

// unlockAll opens what it can of the headers. ErrNoVolume, ErrWrongKey.
func (w *wreck) unlockAll() error {
	if len(w.public) == 0 {
		return fmt.Errorf("neither a record nor any of %d segments has a header: %w", len(w.listed), ErrNoVolume)
	}
	slices.SortStableFunc(w.public, func(a, b []byte) int { return cmp.Compare(headerSequence(b), headerSequence(a)) })
	for _, b := range w.public {
		h, err := seal.ParseHeader(b)
		if err != nil {
			continue
		}
		if err := w.unlock(h); err != nil {
			return err
		}
	}
	if len(w.headers) == 0 {
		return fmt.Errorf("none of %d headers: %w", len(w.public), cmp.Or(w.refused, ErrWrongKey))
	}
	return w.oneVolume()
}

// unlock opens one header, if the key for it is there or can be had. A header
// that does not open is no error: anybody can write one.
func (w *wreck) unlock(h seal.Header) error {
	i, secret := w.knownKey(h)
	if i < 0 {
		if i, secret = w.askKey(h); i < 0 {
			return w.ctx.Err()
		}
	}
	ring, err := h.Unlock(i, secret.Key)
	if err != nil {
		w.refused = cmp.Or(w.refused, sealError(err))
		return nil
	}
	secret.Generation = h.Slots[i].Generation
	w.headers = append(w.headers, foundHeader{h, secret, ring})
	return nil
}

// knownKey finds a slot, of the newest generation there is, whose key we have.
func (w *wreck) knownKey(h seal.Header) (int, seal.SlotSecret) {
	at, found := -1, seal.SlotSecret{}
	for i, s := range h.Slots {
		for _, k := range w.keys {
			if k.Kind == s.Kind && bytes.Equal(k.Descriptor, s.Descriptor) && (at < 0 || s.Generation > h.Slots[at].Generation) {
				at, found = i, k
			}
		}
	}
	return at, found
}

// askKey asks the unlocker, unless it was asked for the same slots before.
func (w *wreck) askKey(h seal.Header) (int, seal.SlotSecret) {
	slots := publicSlots(h)
	same := func(o []Slot) bool {
		return slices.EqualFunc(o, slots, func(a, b Slot) bool { return a.Kind == b.Kind && bytes.Equal(a.Descriptor, b.Descriptor) })
	}
	if len(w.asked) == maxUnlockTries || slices.ContainsFunc(w.asked, same) {
		return -1, seal.SlotSecret{}
	}
	w.asked = append(w.asked, slots)
	i, k, err := w.options.Unlocker.Unlock(w.ctx, slots)
	if err == nil && (i < 0 || i >= len(slots)) {
		k.Destroy()
		err = ErrWrongKey
	}
	if err != nil {
		w.refused = cmp.Or(w.refused, err)
		return -1, seal.SlotSecret{}
	}
	s := seal.SlotSecret{Kind: slots[i].Kind, Descriptor: slots[i].Descriptor, Key: k}
	w.keys = append(w.keys, s)
	return i, s
}

// oneVolume makes sure that the headers are of one volume, and joins their keys.
func (w *wreck) oneVolume() error {
	if w.volume == [16]byte{} {
		w.volume = w.headers[0].Volume
	}
	for _, h := range w.headers {
		if h.Volume != w.volume {
			return fmt.Errorf("segments of the volumes %x and %x, which this key opens both: %w", w.volume, h.Volume, ErrAmbiguous)
		}
		for g, vk := range h.ring {
			if _, have := w.ring[g]; !have {
				w.ring[g] = vk
			}
		}
	}
	return nil
}

// newest is the header with the newest key, and of those the latest.
func (w *wreck) newest() foundHeader {
	return slices.MaxFunc(w.headers, func(a, b foundHeader) int {
		return cmp.Or(cmp.Compare(a.secret.Generation, b.secret.Generation), cmp.Compare(a.Sequence, b.Sequence))
	})
}

// lastHeader is the highest sequence of a header that the key opens.
func (w *wreck) lastHeader() (n uint64) {
	for _, h := range w.headers {
		n = max(n, h.Sequence)
	}
	return n
}

// store is a read-only Store on the wreck, without a root yet.
func (w *wreck) store() (*Store, error) {
	s := newStore(w.reader, w.options)
	s.volume = w.volume
	s.segmentSize = int64(1) << w.newest().SegmentShift
	s.headerSequence = w.lastHeader()
	ring := seal.Keyring{}
	for g, vk := range w.ring {
		k, err := key.FromBytes(vk.Bytes())
		if err != nil {
			return nil, err
		}
		ring[g] = k
	}
	s.ring.Store(&ring)
	_, s.stop = context.WithCancel(context.Background())
	close(s.done)
	return s, nil
}

// record returns a record of the host, nothing if there is none.
func (w *wreck) record(name string) []byte {
	rec, err := w.reader.Get(w.ctx, name)
	w.unread.note(err)
	return rec.Value
}

// readSome reads what there is of p and returns how much that was.
func (w *wreck) readSome(id host.SegmentID, off int64, p []byte) int {
	n, err := w.reader.Read(w.ctx, id, off, p)
	if err == nil && n != len(p) {
		err = errShort
	}
	if err != nil {
		err = fmt.Errorf("segment %d, offset %d: %w", id, off, err)
	}
	w.unread.note(err)
	if n < 0 || n > len(p) {
		return 0 // what a host says that lies about that is worth nothing
	}
	return n
}

// isOver reports whether err is that of a context that ended.
func isOver(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}
