package store_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/s3"
	"github.com/coffer-fs/coffer/store/host/s3/s3test"
	"github.com/coffer-fs/coffer/store/storetest"
)

// The attacks of who has the bucket, on the objects of a volume in a real object store
// (attack_hosts_test.go has those on what a volume is made of).

// prey is a volume in a bucket as it was at an instant, and all that the bucket ever
// had of it, which who has the bucket kept.
type prey struct {
	*vault
	gateway *s3test.Gateway
	anchor  *storetest.Anchor // nil if there is none
	name    string            // what it is in this test
	inUse   bool              // its writer had not closed it: its end looks like a crash
	objects map[string][]byte
	ever    map[string][][]byte // of each object, in order
	copied  string              // the address of a copy that is only read
	judged  int
	count   *int
}

func (p *prey) options(url string) s3.Options {
	return s3.Options{
		Endpoint: url, AccessKey: "test", SecretKey: "testtest",
		Beat: time.Hour, Stale: -1, Pause: time.Millisecond, CacheBytes: 1 << 20, Patience: 30 * time.Second,
	}
}

// storeOptions are for whoever opens it, or a copy.
func (p *prey) storeOptions(readOnly bool) store.Options {
	o := store.Options{Unlocker: unlocker, ReadOnly: readOnly, Takeover: true, AnchorWait: 1}
	if p.anchor != nil {
		o.Anchor = p.anchor.Hold(func() {})
	}
	return o
}

// hunt makes volumes in a bucket, with an anchor and without one, one that was closed
// and one that its writer left open, and has attack called with each.
func hunt(t *testing.T, attack func(t *testing.T, p *prey)) {
	g := s3test.NewGateway(t)
	count := 0
	for _, anchored := range []bool{false, true} {
		closed, open := newPrey(t, g, anchored, &count)
		preys := []*prey{closed, open}
		if raced { // the others are attacked without the detector, which makes all of it slow
			preys = map[bool][]*prey{false: {closed}, true: {open}}[anchored]
		}
		for _, p := range preys {
			t.Run(p.name, func(t *testing.T) {
				p.control(t)
				attack(t, p)
			})
		}
	}
}

// newPrey returns a volume with some history: two openings, so that objects and
// entries of both, and a head of each.
func newPrey(t *testing.T, g *s3test.Gateway, anchored bool, count *int) (closed, open *prey) {
	t.Helper()
	p := &prey{vault: &vault{history: newHistory()}, gateway: g, ever: map[string][][]byte{}, count: count}
	name := "without an anchor"
	create := store.CreateOptions{Capacity: store.MinCapacity, Secret: storetest.Secret("test")}
	if anchored {
		name, p.anchor = "with an anchor", &storetest.Anchor{}
		create.Anchor = p.anchor
	}
	url, o := p.place(), p.options(g.URL)
	v := mustBucket(t, url, o)
	if err := store.Create(bg, v, create); err != nil {
		t.Fatal(err)
	}
	for session := range 2 {
		so := store.Options{Unlocker: unlocker, AnchorWait: 1}
		if anchored {
			so.Anchor = p.anchor
		}
		s, err := store.Open(bg, v, so)
		if err != nil {
			t.Fatal(err)
		}
		p.s = s
		for i := range uint64(3) {
			p.put(t, 10+uint64(session)*10+i, content{int(i) * 1000, 700})
			p.commit(t)
			p.look()
		}
		if session == 0 {
			p.put(t, 30, content{0, 20_000})
			p.drop(t, 11, 700)
			p.commit(t)
		} else {
			open = p.now(name+", in use", true)
		}
		p.close(t)
		p.look()
	}
	return p.now(name+", closed", false), open
}

// mustBucket makes a place for a volume, and opens it.
func mustBucket(t *testing.T, url string, o s3.Options) *s3.Volume {
	t.Helper()
	if err := s3.Create(bg, url, o); err != nil {
		t.Fatal(err)
	}
	v, err := s3.Open(bg, url, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.Close() })
	return v
}

// place is the address of another volume.
func (p *prey) place() string {
	*p.count++
	return fmt.Sprintf("s3://bucket/v%d", *p.count)
}

func (p *prey) prefix() string { return fmt.Sprintf("v%d/", *p.count) }

// look keeps what the bucket has.
func (p *prey) look() {
	p.objects = map[string][]byte{}
	for _, name := range p.gateway.Objects(p.prefix()) {
		short, ok := strings.CutPrefix(name, p.prefix())
		if !ok {
			continue
		}
		b := p.gateway.Get(name)
		p.objects[short] = b
		if was := p.ever[short]; len(was) == 0 || !bytes.Equal(was[len(was)-1], b) {
			p.ever[short] = append(was, b)
		}
	}
}

// now is the volume at this instant.
func (p *prey) now(name string, inUse bool) *prey {
	p.look()
	n := *p
	n.copied = ""
	n.name, n.inUse, n.objects = name, inUse, maps.Clone(p.objects)
	n.vault = &vault{history: p.history.fork(p.last)}
	if p.anchor != nil {
		n.anchor = p.anchor.Hold(func() {})
	}
	return &n
}

func (p *prey) names() []string { return slices.Sorted(maps.Keys(p.objects)) }

// changed is the objects with some changed; nil takes one away.
func (p *prey) changed(some map[string][]byte) map[string][]byte {
	c := maps.Clone(p.objects)
	for name, b := range some {
		if c[name] = b; b == nil {
			delete(c, name)
		}
	}
	return c
}

// ofBucket are errors that say that the bucket does not have what it should.
var ofBucket = []error{s3.ErrAnswer, s3.ErrFormat, host.ErrNotFound}

// judge puts objects where a volume is looked for, and opens it to read, and one time in
// writeEach to write. Nothing but what was written is ever read; with an anchor, nothing
// older than the newest, and without one, nothing older unless that may be.
func (p *prey) judge(t *testing.T, what string, objects map[string][]byte, older bool) (found survey) {
	t.Helper()
	p.judged++
	found = p.readChanged(t, objects)
	surveys := []survey{found}
	if p.judged%writeEach == 1 {
		surveys = append(surveys, p.visit(t, p.lay(objects), p.options(p.gateway.URL), false))
	}
	for i, f := range surveys {
		if t.Failed() {
			t.Fatalf("%s, opening %d", what, i)
		}
		if f.opened == nil && f.state != p.last && (p.anchor != nil || !older) {
			t.Fatalf("%s, opening %d: it opens to state %d of %d", what, i, f.state, p.last)
		}
	}
	return found
}

// writeEach is how many changes are only read for one that is opened to write too, which
// takes a copy of the volume.
const writeEach = 4

// readChanged changes objects of a copy that is only read, opens it, and undoes that.
func (p *prey) readChanged(t *testing.T, objects map[string][]byte) survey {
	t.Helper()
	if p.copied == "" {
		p.copied = p.lay(p.objects)
	}
	prefix := strings.TrimPrefix(p.copied, "s3://bucket/") + "/"
	for name := range union(objects, p.objects) {
		if now, was := objects[name], p.objects[name]; !bytes.Equal(now, was) || (now == nil) != (was == nil) {
			p.gateway.Put(prefix+name, now)
			defer p.gateway.Put(prefix+name, was)
		}
	}
	return p.visit(t, p.copied, p.options(p.gateway.URL), true)
}

func union(a, b map[string][]byte) map[string][]byte {
	u := maps.Clone(a)
	maps.Copy(u, b)
	return u
}

// lay puts objects into the bucket as another volume.
func (p *prey) lay(objects map[string][]byte) (url string) {
	url = p.place()
	for name, b := range objects {
		p.gateway.Put(p.prefix()+name, b)
	}
	return url
}

// visit opens what is at an address and reads everything.
func (p *prey) visit(t *testing.T, url string, o s3.Options, readOnly bool, also ...error) survey {
	t.Helper()
	also = append(also, ofBucket...)
	if p.anchor != nil {
		also = append(also, store.ErrRolledBack, store.ErrForked)
	}
	v, err := s3.Open(bg, url, o)
	if err != nil {
		typed(t, err, also...)
		return survey{opened: err}
	}
	defer v.Close()
	return p.surveyWith(t, v, p.storeOptions(readOnly), also...)
}

// control: what nobody touched opens, to read and to write, to its last state.
func (p *prey) control(t *testing.T) {
	t.Helper()
	p.judged = 0
	if f := p.judge(t, "nothing changed", p.objects, false); f.harmed() {
		t.Fatalf("nothing changed: %+v", f)
	}
}

// isJournal reports whether an object is head or entry, whose sums anybody can make.
func isJournal(name string) bool { return name == "head" || strings.HasPrefix(name, "log/") }

// summed makes the sum of a head or an entry good.
func summed(name string, b []byte) []byte {
	at := len(b) - sha256.Size
	if name != "head" {
		at = 60 + int(b[55]) + int(b[54])<<8 // behind changes of less than 64 KiB
	}
	if at < 0 || at+sha256.Size > len(b) {
		return b
	}
	sum := sha256.Sum256(b[:at])
	copy(b[at:], sum[:])
	return b
}

// Any byte of any object, with sums that are good.
func TestA01_FlipInBucket(t *testing.T) {
	r := rand.New(rand.NewPCG(newSeed(t), 14))
	hunt(t, func(t *testing.T, p *prey) {
		refused := 0
		for _, name := range p.names() {
			if name == "knock" {
				continue
			}
			b := p.objects[name]
			for at := 0; at < len(b); at += 1 + r.IntN(1+len(b)/2) {
				flipped := bytes.Clone(b)
				flipped[at] ^= 1 << (at % 8)
				if isJournal(name) && at%2 == 0 {
					flipped = summed(name, flipped)
				}
				f := p.judge(t, fmt.Sprintf("%s, byte %d", name, at), p.changed(map[string][]byte{name: flipped}), p.inUse)
				if f.harmed() {
					refused++
				}
			}
		}
		if refused == 0 {
			t.Error("no flip is noticed")
		}
	})
}

// Objects that are cut, emptied, and longer than they were.
func TestA06_TruncateInBucket(t *testing.T) {
	hunt(t, func(t *testing.T, p *prey) {
		for _, name := range p.names() {
			b := p.objects[name]
			for _, size := range []int{0, 1, len(b) / 2, len(b) - 1} {
				p.judge(t, fmt.Sprintf("%s cut to %d of %d", name, size, len(b)), p.changed(map[string][]byte{name: b[:max(0, size)]}), p.inUse)
			}
			p.judge(t, name+" extended", p.changed(map[string][]byte{name: append(bytes.Clone(b), pool[:5000]...)}), p.inUse)
		}
	})
}

// Each object in the place of each other one.
func TestA08_SwapInBucket(t *testing.T) {
	hunt(t, func(t *testing.T, p *prey) {
		names := p.names()
		for i, a := range names {
			for _, b := range names[:i] {
				p.judge(t, a+" for "+b, p.changed(map[string][]byte{a: p.objects[b], b: p.objects[a]}), p.inUse)
			}
		}
	})
}

// Every older version of each object alone, and what was deleted brought back.
func TestA09_RollBackInBucket(t *testing.T) {
	hunt(t, func(t *testing.T, p *prey) {
		for _, name := range slices.Sorted(maps.Keys(p.ever)) {
			for i, b := range p.ever[name] {
				if bytes.Equal(b, p.objects[name]) {
					continue
				}
				f := p.judge(t, fmt.Sprintf("%s of %d", name, i), p.changed(map[string][]byte{name: b}), true)
				if p.objects[name] == nil && (f.harmed() || f.state != p.last) && !strings.HasPrefix(name, "log/") {
					t.Errorf("%s, which was deleted, is back: %+v", name, f)
				}
			}
		}
		all := map[string][]byte{}
		for name, versions := range p.ever {
			if p.objects[name] == nil {
				all[name] = versions[0]
			}
		}
		p.judge(t, "all that was deleted", p.changed(all), true)
	})
}

func TestA13_DeleteInBucket(t *testing.T) {
	hunt(t, func(t *testing.T, p *prey) {
		for _, name := range p.names() {
			f := p.judge(t, name+" deleted", p.changed(map[string][]byte{name: nil}), p.inUse)
			if name == "head" && !f.harmed() || name == "knock" && f.harmed() {
				t.Errorf("%s deleted: %+v", name, f)
			}
		}
	})
}

// The whole bucket as it was before its writer closed the volume: without an anchor it
// opens to the state of then; with one it is refused.
func TestA14_RollBackBucket(t *testing.T) {
	g, count := s3test.NewGateway(t), 0
	for _, anchored := range []bool{false, true} {
		closed, open := newPrey(t, g, anchored, &count)
		f := closed.judge(t, "an older bucket", open.objects, true)
		if anchored {
			// An entry's state is that of the last commit; closing told the anchor of more.
			if f.opened == nil && f.state != closed.last || f.opened != nil && !errors.Is(f.opened, store.ErrRolledBack) {
				t.Errorf("an older bucket: %+v", f)
			}
		} else if f.harmed() || f.state != open.last {
			t.Errorf("an older bucket: %+v, want state %d", f, open.last)
		}
		older := map[string][]byte{}
		for name, versions := range closed.ever {
			if name != "head" {
				older[name] = versions[0]
				continue
			}
			for i, head := range versions[:len(versions)-1] {
				older["head"] = head
				f := closed.judge(t, fmt.Sprintf("head %d, and all that ever was", i), older, true)
				if anchored && f.opened != nil {
					typed(t, f.opened, store.ErrRolledBack, store.ErrForked, s3.ErrAnswer)
				}
			}
		}
	}
}

// The newest entries of a journal alone: without an anchor that is a crash before them.
func TestA15_SuppressEntries(t *testing.T) {
	hunt(t, func(t *testing.T, p *prey) {
		var entries []string
		for _, name := range p.names() {
			if strings.HasPrefix(name, "log/") {
				entries = append(entries, name)
			}
		}
		cut, older := map[string][]byte{}, 0
		for _, name := range slices.Backward(entries) {
			cut[name] = nil
			f := p.judge(t, fmt.Sprintf("without %d entries", len(cut)), p.changed(cut), true)
			switch {
			case f.opened == nil && f.state < p.last:
				older++
			case f.opened != nil && p.anchor != nil:
				typed(t, f.opened, store.ErrRolledBack)
			}
		}
		if p.inUse && (older > 0) == (p.anchor != nil) {
			t.Errorf("%d of %d cuts of the journal open to an older state", older, len(entries))
		}
	})
}

// Two copies of a bucket, both opened and written: with an anchor, one goes on.
func TestA16_ForkBucket(t *testing.T) {
	hunt(t, func(t *testing.T, p *prey) {
		anchor := p.anchor
		going := 0
		for i := range 2 {
			url, o := p.lay(p.objects), p.options(p.gateway.URL)
			v, err := s3.Open(bg, url, o)
			if err != nil {
				t.Fatal(err)
			}
			so := p.storeOptions(false)
			if anchor != nil {
				so.Anchor = anchor
			}
			s, err := store.Open(bg, v, so)
			if err == nil {
				f := &vault{history: p.history.fork(p.last), s: s}
				f.put(t, 50, content{i * 5000, 700})
				f.commit(t)
				f.close(t)
				going++
				q := *p
				q.vault, q.anchor = f, nil
				so.ReadOnly = true
				if found := f.surveyWith(t, v, so); found.harmed() || found.state != f.last {
					t.Errorf("fork %d: %+v", i, found)
				}
			} else {
				typed(t, err, store.ErrRolledBack, store.ErrForked)
			}
			v.Close()
		}
		if want := map[bool]int{true: 1, false: 2}[anchor != nil]; going != want {
			t.Errorf("%d forks go on, want %d", going, want)
		}
	})
}

// What one fork's bucket has is worth nothing in the other's, object by object.
func TestA17_SpliceBuckets(t *testing.T) {
	hunt(t, func(t *testing.T, p *prey) {
		if p.anchor != nil {
			return // which one goes on is TestA16_ForkBucket; the splice is the same
		}
		var forks [2]*prey
		for i := range forks {
			f := *p
			f.vault = &vault{history: p.history.fork(p.last)}
			f.ever = map[string][][]byte{}
			url := p.lay(p.objects)
			v, err := s3.Open(bg, url, p.options(p.gateway.URL))
			if err != nil {
				t.Fatal(err)
			}
			if f.s, err = store.Open(bg, v, p.storeOptions(false)); err != nil {
				t.Fatal(err)
			}
			f.put(t, 50, content{i * 5000, 700})
			f.commit(t)
			forks[i] = f.now("fork", true)
			f.close(t)
			v.Close()
		}
		a, b := forks[0], forks[1]
		spliced := 0
		for _, name := range b.names() {
			other, ok := a.objects[name]
			if !ok || bytes.Equal(other, b.objects[name]) {
				continue
			}
			spliced++
			b.judge(t, name+" of the other fork", b.changed(map[string][]byte{name: other}), true)
		}
		if spliced == 0 {
			t.Error("the forks have no object in common")
		}
	})
}
