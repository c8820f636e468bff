package store_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/coffer-fs/coffer/store"
)

var bg = context.Background()

// pool is where the content of all data comes from: a run of it is told by
// offset and length.
var pool = func() []byte {
	p := make([]byte, 1<<20)
	rand.NewChaCha8([32]byte{7}).Read(p)
	return p
}()

// content is what the model expects of one item: a value, or a run of data.
type content struct{ off, size int }

func (c content) bytes() []byte { return pool[c.off : c.off+c.size] }

// history is every state that a map went through, one for each Update. The
// first state, before any Update, has the number 0. Data is there as the extents
// that were put; the volume may hold the same bytes in others. It is used by one
// goroutine until it is only read.
type history struct {
	items map[store.Key][]event // in order of states
	count []int                 // small items by state
	data  [][]piece             // in order, by state
	last  int                   // number of the newest state
	keeps []keep                // changes of snapshots, in order
	sizes []int64               // limits, in order; empty if nobody looks at them
}

type event struct {
	state int
	here  bool // false: deleted
	content
}

func newHistory() *history {
	return &history{items: map[store.Key][]event{}, count: []int{0}, data: [][]piece{nil}}
}

// at returns what k is in a state.
func (h *history) at(k store.Key, state int) (content, bool) {
	es := h.items[k]
	for i := len(es) - 1; i >= 0; i-- {
		if es[i].state <= state {
			return es[i].content, es[i].here
		}
	}
	return content{}, false
}

// edit is one change of an Update.
type edit struct {
	key  store.Key
	here bool
	content
	extent store.Extent // of a data item
}

// add makes the next state.
func (h *history) add(edits []edit) {
	h.last++
	n, data := h.count[h.last-1], h.data[h.last-1]
	for _, e := range edits {
		if e.key.Type == store.TypeExtent {
			data = e.editPieces(data)
		}
		_, was := h.at(e.key, h.last)
		switch {
		case e.key.Type == store.TypeExtent:
		case e.here && !was:
			n++
		case !e.here && was:
			n--
		}
		if es := h.items[e.key]; len(es) > 0 && es[len(es)-1].state == h.last {
			h.items[e.key] = es[:len(es)-1] // changed twice in one Update
		}
		h.items[e.key] = append(h.items[e.key], event{h.last, e.here, e.content})
	}
	h.count, h.data = append(h.count, n), append(h.data, data)
}

// editPieces returns ps with the edit made.
func (e edit) editPieces(ps []piece) []piece {
	ps = slices.DeleteFunc(slices.Clone(ps), func(p piece) bool { return p.object == e.key.Object && p.end() == e.key.Sub })
	if !e.here {
		return ps
	}
	p := piece{object: e.key.Object, at: e.key.Sub - uint64(e.size), data: e.bytes()}
	i, _ := slices.BinarySearchFunc(ps, p, piece.compare)
	return slices.Insert(ps, i, p)
}

// fork returns a copy that ends with a state of h and goes on on its own.
func (h *history) fork(state int) *history {
	keeps, _ := slices.BinarySearchFunc(h.keeps, state+1, func(k keep, at int) int { return cmp.Compare(k.at, at) })
	return h.forkAt(moment{state, keeps, max(0, len(h.sizes)-1)})
}

func (h *history) forkAt(m moment) *history {
	f := newHistory()
	f.last = m.state
	f.count = slices.Clip(h.count[:m.state+1])
	f.data = slices.Clip(h.data[:m.state+1])
	f.keeps = slices.Clip(h.keeps[:m.keeps])
	if len(h.sizes) > 0 {
		f.sizes = []int64{h.sizes[m.size]}
	}
	for k, es := range h.items {
		n, _ := slices.BinarySearchFunc(es, m.state+1, func(e event, state int) int { return cmp.Compare(e.state, state) })
		if n > 0 {
			f.items[k] = slices.Clip(es[:n])
		}
	}
	return f
}

// stateKey is the item that holds the number of the state, so that a state read
// back tells which one it claims to be. Every Update sets it.
var stateKey = store.Key{Object: 1, Type: 9}

// readState returns the number that a state claims.
func readState(tx *store.Tx) (int, error) {
	v, ok, err := tx.Get(stateKey)
	if err != nil || !ok {
		return 0, err
	}
	return int(binary.BigEndian.Uint64(v)), nil
}

// compare reads everything that tx sees, data included, and compares it with
// the state that it claims to be.
func (h *history) compare(s *store.Store, tx *store.Tx) (state int, err error) {
	if state, err = readState(tx); err != nil {
		return 0, err
	}
	if state > h.last {
		return state, fmt.Errorf("state %d is found, there are only %d", state, h.last)
	}
	found, n := []piece{}, 0
	err = tx.Scan(store.Key{}, store.Key{Object: 1 << 63}, func(k store.Key, v []byte) (bool, error) {
		switch {
		case k == stateKey:
			return true, nil
		case k.Type == store.TypeExtent:
			p, err := foundPiece(k, v)
			found = append(found, p)
			return true, err
		}
		n++
		want, here := h.at(k, state)
		if !here || !bytes.Equal(v, want.bytes()) {
			return false, fmt.Errorf("item %v is there, want %v, or has another value", k, here)
		}
		return true, nil
	})
	if err == nil && n != h.count[state] {
		err = fmt.Errorf("%d small items, want %d", n, h.count[state])
	}
	if err == nil {
		err = s.Read(bg, reads(found))
	}
	if err == nil {
		err = comparePieces(found, slices.Clone(h.data[state]))
	}
	if err != nil {
		return state, fmt.Errorf("state %d: %w", state, err)
	}
	return state, nil
}

// piece is a run of an object's data.
type piece struct {
	object, at uint64
	extent     store.Extent
	data       []byte
}

func (p piece) end() uint64 { return p.at + uint64(len(p.data)) }

func (p piece) compare(o piece) int {
	return cmp.Or(cmp.Compare(p.object, o.object), cmp.Compare(p.at, o.at))
}

func foundPiece(k store.Key, v []byte) (piece, error) {
	e, err := store.ParseExtent(v)
	if err == nil && uint64(e.Count) > k.Sub {
		err = fmt.Errorf("item %v begins before its object", k)
	}
	return piece{k.Object, k.Sub - uint64(e.Count), e, make([]byte, e.Count)}, err
}

func reads(ps []piece) []store.Read {
	rs := make([]store.Read, len(ps))
	for i, p := range ps {
		rs[i] = store.Read{Extent: p.extent, Dst: p.data}
	}
	return rs
}

// comparePieces checks that both are the same bytes at the same places, however
// they are cut. It uses both up.
func comparePieces(got, want []piece) error {
	for len(got) > 0 && len(want) > 0 {
		g, w := &got[0], &want[0]
		if g.object != w.object || g.at != w.at {
			return fmt.Errorf("object %d has data at %d, want object %d at %d", g.object, g.at, w.object, w.at)
		}
		n := min(len(g.data), len(w.data))
		if !bytes.Equal(g.data[:n], w.data[:n]) {
			return fmt.Errorf("object %d, offset %d: other data than was sealed", g.object, g.at)
		}
		for _, p := range []*piece{g, w} {
			p.at, p.data = p.at+uint64(n), p.data[n:]
		}
		if len(g.data) == 0 {
			got = got[1:]
		}
		if len(w.data) == 0 {
			want = want[1:]
		}
	}
	if len(got) != len(want) {
		return fmt.Errorf("%d pieces of data are too many, %d are missing", len(got), len(want))
	}
	return nil
}

// present compares the present state of s, and its snapshots.
func (h *history) present(s *store.Store) (state int, err error) {
	m, err := h.look(s, bounds{most: h.newest()})
	return m.state, err
}

func (h *history) presentState(s *store.Store) (state int, err error) {
	err = s.View(bg, func(tx *store.Tx) error {
		state, err = h.compare(s, tx)
		return err
	})
	return state, err
}

// update makes edits the next state, in store and history. ErrFull leaves both
// as they are.
func (h *history) update(s *store.Store, edits []edit, freeing bool) error {
	return h.updateWith(s, edits, freeing, func(tx *store.Tx) error {
		for _, e := range edits {
			var err error
			switch {
			case !e.here:
				err = tx.Delete(e.key)
			case e.key.Type == store.TypeExtent:
				err = tx.Put(e.key, e.extent.Append(nil))
			default:
				err = tx.Put(e.key, bytes.Clone(e.bytes()))
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// updateWith is update where change makes the edits in the store.
func (h *history) updateWith(s *store.Store, edits []edit, freeing bool, change func(*store.Tx) error) error {
	next := h.last + 1
	call := s.Update
	if freeing {
		call = s.UpdateFreeing
	}
	err := call(bg, func(tx *store.Tx) error {
		if err := change(tx); err != nil {
			return err
		}
		return tx.Put(stateKey, binary.BigEndian.AppendUint64(nil, uint64(next)))
	})
	if err != nil {
		return err
	}
	h.add(edits)
	return nil
}

// writer makes random changes, of a small set of items and of data of a few
// objects.
type writer struct {
	*history
	s     *store.Store
	r     *rand.Rand
	keys  uint64 // how many small items there may be
	slots int    // how many pieces of data
}

const slotSize = store.MaxFrame

// randomItems changes a few small items.
func (w *writer) randomItems() error {
	var edits []edit
	for range 1 + w.r.IntN(6) {
		n := w.r.Uint64N(w.keys)
		e := edit{key: store.Key{Object: 10 + n/16, Type: uint8(1 + n%3), Sub: n}}
		if w.r.IntN(4) > 0 {
			e.here, e.content = true, w.randomContent(w.itemSize())
		}
		edits = append(edits, e)
	}
	return w.update(w.s, edits, false)
}

func (w *writer) itemSize() int {
	if w.r.IntN(20) == 0 {
		return 3 << 10
	}
	return w.r.IntN(200)
}

func (w *writer) randomContent(size int) content {
	return content{w.r.IntN(len(pool) - size + 1), size}
}

// slot is a place for data: an object, and where in it.
func (w *writer) slot() (object, at uint64) {
	n := uint64(w.r.IntN(w.slots))
	return 1000 + n%4, n / 4 * slotSize
}

// cutSlot returns the edits of the model that leave the first keep bytes of a
// slot.
func (w *writer) cutSlot(object, at, keep uint64) (edits []edit) {
	for _, p := range w.data[w.last] {
		if p.object != object || p.end() <= at+keep || p.at >= at+slotSize {
			continue
		}
		edits = append(edits, edit{key: dataKey(object, int(p.end()))})
		if p.at < at+keep {
			k := dataKey(object, int(p.end()))
			c, _ := w.at(k, w.last)
			c.size = int(at + keep - p.at)
			edits = append(edits, edit{key: dataKey(object, int(at+keep)), here: true, content: c})
		}
	}
	return edits
}

// cutStored does the same in the store, whatever extents it has by now.
func cutStored(tx *store.Tx, object, at, keep uint64) error {
	stored := map[store.Key]store.Extent{}
	from, to := dataKey(object, int(at+keep)+1), dataKey(object, int(at)+slotSize+1)
	err := tx.Scan(from, to, func(k store.Key, v []byte) (bool, error) {
		e, err := store.ParseExtent(v)
		stored[k] = e
		return true, err
	})
	for k, e := range stored {
		if err == nil {
			err = tx.Delete(k)
		}
		if begin := k.Sub - uint64(e.Count); err == nil && begin < at+keep {
			err = tx.Put(dataKey(object, int(at+keep)), e.Slice(0, uint32(at+keep-begin)).Append(nil))
		}
	}
	return err
}

// slotEnd is where the data of a slot ends, counted from its start.
func (w *writer) slotEnd(object, at uint64) (end uint64) {
	for _, p := range w.data[w.last] {
		if p.object == object && p.at >= at && p.at < at+slotSize {
			end = p.end() - at
		}
	}
	return end
}

// randomData seals data for one slot and puts it there: over all that was there,
// or behind a part of it.
func (w *writer) randomData() error {
	object, at := w.slot()
	keep := uint64(0)
	if end := w.slotEnd(object, at); end > 0 && w.r.IntN(3) == 0 {
		keep = w.r.Uint64N(end)
	}
	c := w.randomContent(1 + w.r.IntN(min(slotSize-int(keep), 1<<(4+w.r.IntN(13)))))
	f := w.s.NewFlush()
	defer f.Close()
	extents, err := f.Seal(bg, object, at+keep, c.bytes())
	if err != nil {
		return err
	}
	put := edit{dataKey(object, int(at+keep)+c.size), true, c, extents[0]} // a slot is at most a frame
	return w.updateWith(w.s, append(w.cutSlot(object, at, keep), put), false, func(tx *store.Tx) error {
		if err := cutStored(tx, object, at, keep); err != nil {
			return err
		}
		return tx.Put(put.key, put.extent.Append(nil))
	})
}

// dropData empties one slot.
func (w *writer) dropData() error {
	object, at := w.slot()
	return w.updateWith(w.s, w.cutSlot(object, at, 0), true, func(tx *store.Tx) error {
		return cutStored(tx, object, at, 0)
	})
}

// randomChange makes one Update, unless the volume is full.
func (w *writer) randomChange() error {
	var err error
	switch p := w.r.IntN(10); {
	case p < 5:
		err = w.randomItems()
	case p < 9:
		err = w.randomData()
	default:
		err = w.dropData()
	}
	if errors.Is(err, store.ErrFull) {
		return nil
	}
	return err
}
