package tree_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/tree"
)

var seed = flag.Uint64("seed", 0, "seed of the random tests, 0 for a new one")

func newRand(t *testing.T) *rand.Rand {
	s := *seed
	if s == 0 {
		s = rand.Uint64()
	}
	t.Logf("-seed %d", s)
	return rand.New(rand.NewPCG(s, 0))
}

// disk keeps the nodes that were written.
type disk struct {
	nodes map[tree.Ptr][]byte
	next  uint32
}

func (d *disk) load(_ context.Context, p tree.Ptr) ([]byte, error) {
	b, ok := d.nodes[p]
	if !ok {
		return nil, fmt.Errorf("no node at %v", p)
	}
	return slices.Clone(b), nil
}

func (d *disk) write(p []byte) (tree.Ptr, error) {
	d.next++
	at := tree.Ptr{Segment: host.SegmentID(d.next), Offset: d.next, Length: uint32(len(p))}
	d.nodes[at] = slices.Clone(p)
	return at, nil
}

// subject is a tree beside a model of it.
type subject struct {
	t     *testing.T
	disk  *disk
	tree  *tree.Tree
	model map[tree.Key][]byte
	live  map[tree.Ptr]bool // what a recount of the last root would find
}

func (s *subject) change(k tree.Key, v []byte) {
	s.t.Helper()
	view := s.tree.Resident()
	for {
		_, ok, err := view.Get(k)
		if errors.Is(err, tree.ErrMiss) {
			if err := view.Fetch(context.Background()); err != nil {
				s.t.Fatal(err)
			}
			continue
		}
		if err != nil {
			s.t.Fatal(err)
		}
		s.tree.Unshare()
		if v != nil {
			s.tree.Put(view, k, v)
			s.model[k] = v
		} else if ok {
			s.tree.Delete(view, k)
			delete(s.model, k)
		}
		return
	}
}

// touch moves about one in n of the written nodes.
func (s *subject) touch(r *rand.Rand, n int) map[tree.Ptr]bool {
	s.t.Helper()
	var places []tree.Place
	err := s.tree.View(context.Background()).Places(func(p tree.Place) error {
		if r.IntN(n) == 0 {
			places = append(places, p)
		}
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	r.Shuffle(len(places), func(i, j int) { places[i], places[j] = places[j], places[i] })
	moved := map[tree.Ptr]bool{}
	view := s.tree.Resident()
	for _, p := range places {
		there, err := view.Reach(p)
		for errors.Is(err, tree.ErrMiss) {
			if err := view.Fetch(context.Background()); err != nil {
				s.t.Fatal(err)
			}
			there, err = view.Reach(p)
		}
		if err != nil {
			s.t.Fatal(err)
		}
		if there {
			s.tree.Unshare()
			s.tree.Touch(view, p)
			s.tree.Rebase(view)
		}
		moved[p.Ptr] = true
	}
	return moved
}

func (s *subject) checkpoint(fail int) (tree.Ptr, uint8, bool) {
	s.t.Helper()
	f := s.tree.Freeze()
	write := func(p []byte) (tree.Ptr, error) {
		if fail--; fail == 0 {
			return tree.Ptr{}, errors.New("disk full")
		}
		at, err := s.disk.write(p)
		s.live[at] = true
		return at, err
	}
	root, level, err := f.Write(new(sync.Mutex), write)
	if err != nil {
		f.Failed()
		return tree.Ptr{}, 0, false
	}
	for _, p := range f.Freed() {
		if !s.live[p] {
			s.t.Fatalf("node at %v freed twice, or never written", p)
		}
		delete(s.live, p)
	}
	f.Done()
	return root, level, true
}

func (s *subject) check(v *tree.View, model map[tree.Key][]byte) {
	s.t.Helper()
	keys := slices.SortedFunc(maps.Keys(model), tree.Key.Compare)
	i := 0
	err := v.Scan(tree.Key{}, tree.Key{Object: ^uint64(0)}, func(k tree.Key, val []byte) bool {
		if i >= len(keys) || k != keys[i] || !bytes.Equal(val, model[k]) {
			s.t.Fatalf("scan: item %d is %v, want %v", i, k, keys[min(i, len(keys)-1)])
		}
		i++
		return true
	})
	if err != nil || i != len(keys) {
		s.t.Fatalf("scan: %d of %d items: %v", i, len(keys), err)
	}
	for _, k := range keys[:min(len(keys), 50)] {
		if val, ok, err := v.Get(k); err != nil || !ok || !bytes.Equal(val, model[k]) {
			s.t.Fatalf("get %v: %v %v", k, ok, err)
		}
	}
}

// TestModel changes a tree at random, beside a map, with views held over the
// changes, checkpoints that work and that fail half-way, and reopening with a
// cache too small to hold anything.
func TestModel(t *testing.T) {
	r := newRand(t)
	for _, c := range []struct {
		span     uint64
		maxNode  int
		maxValue int
	}{{40, tree.MaxNode, tree.MaxValue}, {3000, tree.MaxNode, tree.MaxValue}, {200000, tree.MaxNode, 200}, {200000, 512, 80}} {
		span := c.span
		d := &disk{nodes: map[tree.Ptr][]byte{}}
		s := &subject{t: t, disk: d, tree: tree.New(d.load, 1), model: map[tree.Key][]byte{}, live: map[tree.Ptr]bool{}}
		s.tree.SetMaxNode(c.maxNode)
		type held struct {
			v     *tree.View
			model map[tree.Key][]byte
		}
		var views []held
		shrink := false
		for step := range 15000 {
			if step%5000 == 0 {
				shrink = r.IntN(2) == 0
			}
			k := tree.Key{Object: r.Uint64N(span) / 16, Type: uint8(r.IntN(3)), Sub: r.Uint64N(16)}
			switch p := r.IntN(1000); {
			case p < 3:
				views = append(views, held{s.tree.View(context.Background()), maps.Clone(s.model)})
			case p < 6 && len(views) > 0:
				s.check(views[0].v, views[0].model)
				views = views[1:]
			case p < 10:
				s.checkpoint(0)
			case p < 12: // nothing stays where it was moved from
				moved := s.touch(r, 1+r.IntN(5))
				if _, _, ok := s.checkpoint(r.IntN(9)); !ok {
					continue
				}
				for at := range moved {
					if s.live[at] {
						t.Fatalf("a node stayed at %v", at)
					}
				}
			case p < 15:
				s.checkpoint(1 + r.IntN(4))
			case p < 17:
				root, level, _ := s.checkpoint(0)
				for _, h := range views {
					s.check(h.v, h.model)
				}
				views = nil
				var err error
				if s.tree, err = tree.Open(d.load, 1, root, level); err != nil {
					t.Fatal(err)
				}
				s.tree.SetMaxNode(c.maxNode)
				s.recount()
			case p < 25: // whole children go, and their gaps are filled again
				keys := slices.SortedFunc(maps.Keys(s.model), tree.Key.Compare)
				from := r.IntN(len(keys) + 1)
				gap := keys[from:min(len(keys), from+r.IntN(300))]
				for _, k := range gap {
					s.change(k, nil)
				}
				for range min(3, len(gap)) {
					s.change(gap[r.IntN(len(gap))], []byte("gap"))
				}
			case shrink && p < 700 || p < 350:
				s.change(k, nil)
			default:
				s.change(k, bytes.Repeat([]byte{byte(step)}, r.IntN(1+r.IntN(c.maxValue+1))))
			}
			if step%2000 == 0 {
				s.check(s.tree.View(context.Background()), s.model)
			}
		}
		for k := range maps.Clone(s.model) {
			s.change(k, nil)
		}
		s.checkpoint(0)
		s.recount()
		if len(s.live) != 1 {
			t.Errorf("an empty tree has %d nodes", len(s.live))
		}
	}
}

// recount compares the places in use, as the checkpoints told them, with those
// that a walk finds.
func (s *subject) recount() {
	s.t.Helper()
	found := map[tree.Ptr]bool{}
	err := s.tree.View(context.Background()).Places(func(p tree.Place) error {
		found[p.Ptr] = true
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	if !maps.Equal(found, s.live) {
		s.t.Fatalf("the tree has %d nodes, %d are accounted for", len(found), len(s.live))
	}
}

// Keys that arrive in order must leave full nodes behind.
func TestSequentialFill(t *testing.T) {
	d := &disk{nodes: map[tree.Ptr][]byte{}}
	s := &subject{t: t, disk: d, tree: tree.New(d.load, 1<<20), model: map[tree.Key][]byte{}, live: map[tree.Ptr]bool{}}
	s.change(tree.Key{Object: 1 << 40}, []byte("behind them all"))
	bytesPut := 0
	for i := range 20000 {
		s.change(tree.Key{Object: 7, Sub: uint64(i)}, make([]byte, 40))
		bytesPut += 40 + tree.KeySize + 2
	}
	s.checkpoint(0)
	stored := 0
	for p := range s.live {
		stored += int(p.Length)
	}
	if stored > bytesPut*11/10 {
		t.Errorf("%d bytes of items take %d bytes of nodes", bytesPut, stored)
	}
}

// A change that was prepared must find its nodes although a checkpoint writes
// them meanwhile and the cache holds nothing.
func TestPrepareThenWrite(t *testing.T) {
	d := &disk{nodes: map[tree.Ptr][]byte{}}
	s := &subject{t: t, disk: d, tree: tree.New(d.load, 1), model: map[tree.Key][]byte{}, live: map[tree.Ptr]bool{}}
	s.tree.SetMaxNode(512)
	for i := range 1000 {
		s.change(tree.Key{Object: uint64(i)}, []byte("value"))
	}
	f := s.tree.Freeze()
	var lock sync.Mutex
	lock.Lock()
	first := make(chan bool, 10000)
	done := make(chan bool)
	go func() {
		defer close(done)
		_, _, err := f.Write(&lock, func(p []byte) (tree.Ptr, error) {
			first <- true
			return d.write(p)
		})
		if err != nil {
			t.Error(err)
		}
	}()
	view := s.tree.Resident()
	if _, ok, err := view.Get(tree.Key{}); !ok || err != nil {
		t.Fatal(ok, err)
	}
	<-first
	for range 1000 {
		runtime.Gosched()
	}
	s.tree.Put(view, tree.Key{}, []byte("other"))
	lock.Unlock()
	<-done
	f.Done()
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte{0, 0, 0}, uint8(0))
	f.Add([]byte{1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 1, 0, 0, 1, 0}, uint8(1))
	f.Fuzz(func(t *testing.T, b []byte, level uint8) {
		load := func(context.Context, tree.Ptr) ([]byte, error) { return slices.Clone(b), nil }
		tr, err := tree.Open(load, 1, tree.Ptr{Segment: 1}, level)
		if err != nil {
			return
		}
		n := 0
		_ = tr.View(t.Context()).Scan(tree.Key{}, tree.Key{Object: ^uint64(0)}, func(tree.Key, []byte) bool {
			n++
			return n < 10000
		})
	})
}
