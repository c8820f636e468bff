package store_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"

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
// first state, before any Update, has the number 0. It is used by one goroutine
// until it is only read.
type history struct {
	items map[store.Key][]event // in order of states
	count []int                 // items by state
	last  int                   // number of the newest state
}

type event struct {
	state int
	here  bool // false: deleted
	content
}

func newHistory() *history {
	return &history{items: map[store.Key][]event{}, count: []int{0}}
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
	n := h.count[h.last-1]
	for _, e := range edits {
		_, was := h.at(e.key, h.last)
		switch {
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
	h.count = append(h.count, n)
}

// fork returns a copy that starts from a state of h and grows on its own.
func (h *history) fork(state int) *history {
	f := newHistory()
	f.last = state
	f.count = append([]int{}, h.count[:state+1]...)
	for k := range h.items {
		if c, here := h.at(k, state); here {
			f.items[k] = []event{{state, true, c}}
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
	var reads []store.Read
	var wants []content
	var keys []store.Key
	n := 0
	err = tx.Scan(store.Key{}, store.Key{Object: 1 << 63}, func(k store.Key, v []byte) (bool, error) {
		if k == stateKey {
			return true, nil
		}
		n++
		want, here := h.at(k, state)
		switch {
		case !here:
			return false, fmt.Errorf("item %v is there and should not be", k)
		case k.Type != store.TypeExtent:
			if !bytes.Equal(v, want.bytes()) {
				return false, fmt.Errorf("item %v has another value than was put", k)
			}
			return true, nil
		}
		e, err := store.ParseExtent(v)
		if err != nil || int(e.Count) != want.size {
			return false, fmt.Errorf("item %v: extent of %d bytes, want %d: %w", k, e.Count, want.size, err)
		}
		reads = append(reads, store.Read{Extent: e, Dst: make([]byte, e.Count)})
		wants, keys = append(wants, want), append(keys, k)
		return true, nil
	})
	if err != nil {
		return state, fmt.Errorf("state %d: %w", state, err)
	}
	if n != h.count[state] {
		return state, fmt.Errorf("state %d: %d items, want %d", state, n, h.count[state])
	}
	if err := s.Read(bg, reads); err != nil {
		return state, fmt.Errorf("state %d: %w", state, err)
	}
	for i, r := range reads {
		if !bytes.Equal(r.Dst, wants[i].bytes()) {
			return state, fmt.Errorf("state %d: item %v: other data than was sealed", state, keys[i])
		}
	}
	return state, nil
}

// present compares the present state of s.
func (h *history) present(s *store.Store) (state int, err error) {
	err = s.View(bg, func(tx *store.Tx) error {
		state, err = h.compare(s, tx)
		return err
	})
	return state, err
}

// update makes edits the next state, in store and history. ErrFull leaves both
// as they are.
func (h *history) update(s *store.Store, edits []edit, freeing bool) error {
	next := h.last + 1
	fn := func(tx *store.Tx) error {
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
		return tx.Put(stateKey, binary.BigEndian.AppendUint64(nil, uint64(next)))
	}
	call := s.Update
	if freeing {
		call = s.UpdateFreeing
	}
	if err := call(bg, fn); err != nil {
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

// slotItems are the items of one slot, in order.
func (w *writer) slotItems(object, at uint64) (items []edit, err error) {
	err = w.s.View(bg, func(tx *store.Tx) error {
		from := store.Key{Object: object, Type: store.TypeExtent, Sub: at + 1}
		to := store.Key{Object: object, Type: store.TypeExtent, Sub: at + slotSize + 1}
		return tx.Scan(from, to, func(k store.Key, v []byte) (bool, error) {
			e, err := store.ParseExtent(v)
			c, here := w.at(k, w.last)
			if err == nil && !here {
				err = fmt.Errorf("item %v is there and should not be", k)
			}
			items = append(items, edit{k, true, c, e})
			return true, err
		})
	})
	return items, err
}

// randomData seals data for one slot and puts it there: over all that was there,
// or behind a part of it.
func (w *writer) randomData() error {
	object, at := w.slot()
	old, err := w.slotItems(object, at)
	if err != nil {
		return err
	}
	keep := uint64(0)
	if w.r.IntN(3) == 0 && len(old) > 0 {
		keep = uint64(w.r.IntN(int(old[len(old)-1].key.Sub - at)))
	}
	c := w.randomContent(1 + w.r.IntN(min(slotSize-int(keep), 1<<(4+w.r.IntN(13)))))
	f := w.s.NewFlush()
	defer f.Close()
	extents, err := f.Seal(bg, object, at+keep, c.bytes())
	if err != nil {
		return err
	}
	edits := cutSlot(old, at, keep)
	end := at + keep
	for _, e := range extents {
		end += uint64(e.Count)
		edits = append(edits, edit{store.Key{Object: object, Type: store.TypeExtent, Sub: end}, true, content{c.off, int(e.Count)}, e})
		c.off += int(e.Count)
	}
	return w.update(w.s, edits, false)
}

// cutSlot returns the edits that leave the first keep bytes of a slot.
func cutSlot(old []edit, at, keep uint64) (edits []edit) {
	begin := at
	for _, o := range old {
		end := o.key.Sub
		if end > at+keep {
			edits = append(edits, edit{key: o.key})
			if begin < at+keep {
				n := at + keep - begin
				k := o.key
				k.Sub = at + keep
				edits = append(edits, edit{k, true, content{o.off, int(n)}, o.extent.Slice(0, uint32(n))})
			}
		}
		begin = end
	}
	return edits
}

// dropData empties one slot.
func (w *writer) dropData() error {
	object, at := w.slot()
	old, err := w.slotItems(object, at)
	if err != nil {
		return err
	}
	return w.update(w.s, cutSlot(old, at, 0), true)
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
