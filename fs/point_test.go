package fs_test

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/coffer-fs/coffer/fs"
	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/local"
	"github.com/coffer-fs/coffer/store/host/point"
	"github.com/coffer-fs/coffer/store/host/transfer"
	"github.com/coffer-fs/coffer/store/storetest"
)

// history is what a filesystem was after each operation.
type history struct {
	mu     sync.Mutex
	states []*model // guarded by mu
	synced int      // the state that the last Sync acknowledged; guarded by mu
}

func (h *history) now() (states, synced int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.states), h.synced
}

// sent is a copy, with the states that it may be in.
type sent struct {
	dir         string
	first, last int
}

// TestSendModel does random things to a filesystem and a model of it, while somebody
// without a key sends what it is, again and again: whole, and to one copy only what has
// changed. Each copy must be what the model was after some number of operations, no
// fewer than the last Sync had acknowledged when the sending began.
func TestSendModel(t *testing.T) {
	seed := newSeed(t)
	for i := range uint64(*modelRuns / 40) {
		if err := sendModel(t, seed+i); err != nil {
			t.Fatalf("-seed %d -model.runs 40: %v", seed+i, err)
		}
	}
}

func sendModel(t *testing.T, seed uint64) (err error) {
	r := rand.New(rand.NewPCG(seed, 4))
	dir := filepath.Join(t.TempDir(), "volume")
	if err := local.Create(dir); err != nil {
		return err
	}
	v, err := local.Open(dir)
	if err != nil {
		return err
	}
	defer v.Close()
	options := store.Options{Unlocker: storetest.Unlocker("test"), CheckpointBytes: 16<<10 + r.IntN(64<<10)}
	if err := store.Create(bg, v, store.CreateOptions{Capacity: 8 << 20, Secret: storetest.Secret("test")}); err != nil {
		return err
	}
	st, err := store.Open(bg, v, options)
	if err != nil {
		return err
	}
	if err := fs.Format(bg, st, 0, 0); err != nil {
		return err
	}
	f, err := fs.Open(bg, st, fs.Options{CommitEvery: time.Hour, DirtyBytes: 4096 << r.IntN(8)})
	if err != nil {
		return err
	}
	p := &player{r: r, f: f, m: newModel(), full: true}
	if err := p.learn(); err != nil {
		return err
	}
	h := &history{states: []*model{p.m.clone()}}
	done, copies := make(chan bool), make(chan error, 1)
	var list []sent
	go func() {
		var err error
		list, err = sendUntil(done, dir, t.TempDir(), h)
		copies <- err
	}()
	err = h.play(p, r)
	close(done)
	if err = errors.Join(err, <-copies, f.Close(), st.Close()); err != nil {
		return err
	}
	for _, s := range list {
		if err := h.verify(s, options); err != nil {
			return fmt.Errorf("copy %s: %w", filepath.Base(s.dir), err)
		}
	}
	return nil
}

func (h *history) play(p *player, r *rand.Rand) error {
	for range 400 {
		sync := r.IntN(8) == 0
		if sync {
			if err := p.f.Sync(); err != nil {
				return err
			}
		} else if err := p.step(); err != nil {
			return err
		}
		h.mu.Lock()
		if sync {
			h.synced = len(h.states) - 1
		} else {
			h.states = append(h.states, p.m.clone())
		}
		h.mu.Unlock()
	}
	return nil
}

// sendUntil sends what the volume is until done: each time into a directory of its own,
// and what has changed since the time before into one that is kept up to date, of which
// the last state counts.
func sendUntil(done chan bool, dir, to string, h *history) (list []sent, err error) {
	v, err := local.Open(dir)
	if err != nil {
		return nil, err
	}
	defer v.Close()
	var before host.Point
	var current sent
	for n := 0; ; n++ {
		_, first := h.now()
		p, err := v.TakePoint(bg, host.PointOptions{})
		if err != nil {
			return nil, err
		}
		last, _ := h.now() // the one under way may be in it
		whole := sent{filepath.Join(to, fmt.Sprintf("whole%d", n)), first, last}
		current = sent{filepath.Join(to, "current"), first, last}
		if err := sendTo(whole.dir, p, nil); err != nil {
			return nil, err
		}
		if err := sendTo(current.dir, p, before); err != nil {
			return nil, err
		}
		if list = append(list, whole); before != nil {
			if err := errors.Join(before.Close(), v.DropPoint(bg, before.Contents().Info.Name)); err != nil {
				return nil, err
			}
		}
		before = p
		select {
		case <-done:
			return append(list, current), before.Close()
		default:
		}
	}
}

// sendTo sends a point through a pipe.
func sendTo(dir string, p, since host.Point) error {
	m := point.Of(p.Contents(), nil)
	if since != nil {
		c := since.Contents()
		m = point.Of(p.Contents(), &c)
	}
	r, w := io.Pipe()
	go func() { w.CloseWithError(transfer.Send(bg, w, p, m, transfer.SendOptions{})) }()
	_, err := transfer.Into(bg, r, func(m point.Manifest) (transfer.Place, error) {
		return local.Receive(bg, dir, m, local.ReceiveOptions{})
	})
	return err
}

// verify opens a copy, and finds out which state it is.
func (h *history) verify(s sent, o store.Options) error {
	v, err := local.Open(s.dir)
	if err != nil {
		return err
	}
	defer v.Close()
	st, err := store.Open(bg, v, o)
	if err != nil {
		return err
	}
	f, err := fs.Open(bg, st, fs.Options{CommitEvery: time.Hour})
	if err != nil {
		return errors.Join(err, st.Close())
	}
	states := h.states[s.first:min(s.last+1, len(h.states))]
	g := &game{small: true}
	err = g.verify(f, st, states, 0)
	return errors.Join(err, f.Close(), st.Close())
}
