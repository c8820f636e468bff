package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"testing"

	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/memhost"
	"github.com/coffer-fs/coffer/store/storetest"
)

// The attacker owns the host. What each test does has its number and name in
// docs/threat-model.md. A vault is a volume to be attacked, with a model of it.
type vault struct {
	*history
	host   *memhost.Host
	s      *store.Store
	served *served // nil before an attack is made on other hosts too
}

// newVault returns an open volume with nothing in it.
func newVault(t *testing.T) *vault {
	t.Helper()
	v := &vault{history: newHistory(), host: memhost.New(memhost.Options{})}
	storetest.Create(t, v.host, store.MinCapacity)
	v.open(t)
	return v
}

func (v *vault) open(t *testing.T) {
	t.Helper()
	v.s = storetest.Open(t, v.host)
}

func (v *vault) close(t *testing.T) {
	t.Helper()
	if err := v.s.Close(); err != nil {
		t.Fatal(err)
	}
}

// crash returns the machine after a power cut; the volume stays open in this one.
func (v *vault) crash() *vault {
	return &vault{history: v.history, host: v.host.Clone().Crash(memhost.CrashOptions{Decide: memhost.DropAll, KeepGround: true})}
}

// fork is a copy of the volume that goes its own way.
func (v *vault) fork() *vault {
	return &vault{history: v.history.fork(v.last), host: v.host.Clone()}
}

func dataKey(object uint64, size int) store.Key {
	return store.Key{Object: object, Type: store.TypeExtent, Sub: uint64(size)}
}

// put writes an object of one frame and returns where its frame lies.
func (v *vault) put(t *testing.T, object uint64, c content) store.Extent {
	t.Helper()
	f := v.s.NewFlush()
	defer f.Close()
	extents, err := f.Seal(bg, object, 0, c.bytes())
	if err != nil {
		t.Fatal(err)
	}
	if err := v.update(v.s, []edit{{dataKey(object, c.size), true, c, extents[0]}}, false); err != nil {
		t.Fatal(err)
	}
	return extents[0]
}

// drop deletes an object of put.
func (v *vault) drop(t *testing.T, object uint64, size int) {
	t.Helper()
	if err := v.update(v.s, []edit{{key: dataKey(object, size)}}, true); err != nil {
		t.Fatal(err)
	}
}

func (v *vault) commit(t *testing.T) {
	t.Helper()
	if err := v.s.Commit(bg); err != nil {
		t.Fatal(err)
	}
}

// filled returns an open volume with a few objects and small items, all
// committed, and where the objects lie.
func filled(t *testing.T) (*vault, map[uint64]store.Extent) {
	t.Helper()
	v := newVault(t)
	at := map[uint64]store.Extent{}
	for i := range uint64(4) {
		at[i+10] = v.put(t, i+10, content{int(i) * 1000, 700})
	}
	for i := range uint64(5) {
		if err := v.update(v.s, []edit{{key: store.Key{Object: 20 + i, Type: 1}, here: true, content: content{int(i), 30}}}, false); err != nil {
			t.Fatal(err)
		}
	}
	v.commit(t)
	return v, at
}

// survey is what the key's owner finds on a host.
type survey struct {
	opened  error
	state   int
	damaged map[store.Key]bool // items that give an error
}

// survey opens a copy of h and reads every item on its own. Wrong data fails the
// test; so does an error that is not one of those that say what is wrong.
func (v *vault) survey(t *testing.T, h *memhost.Host, readOnly bool) survey {
	t.Helper()
	return v.surveyOn(t, h, readOnly)
}

func (v *vault) surveyOn(t *testing.T, h host.Volume, readOnly bool) survey {
	t.Helper()
	return v.surveyWith(t, h, store.Options{Unlocker: storetest.Unlocker("test"), ReadOnly: readOnly})
}

// surveyWith is surveyOn with options, on a host that has errors of its own too.
func (v *vault) surveyWith(t *testing.T, h host.Volume, o store.Options, also ...error) survey {
	t.Helper()
	s, err := store.Open(bg, h, o)
	if err != nil {
		typed(t, err, also...)
		return survey{opened: err}
	}
	defer s.Close()
	found := survey{damaged: map[store.Key]bool{}}
	err = s.View(bg, func(tx *store.Tx) (err error) {
		found.state, err = readState(tx)
		return err
	})
	if err != nil {
		typed(t, err, also...)
		found.state = v.last
		found.damaged[stateKey] = true
	}
	for k := range v.items {
		if err := v.readOne(s, k, found.state); err != nil {
			typed(t, fmt.Errorf("state %d, item %v: %w", found.state, k, err), also...)
			found.damaged[k] = true
		}
	}
	return found
}

// typed fails the test for an error that a caller could not tell apart.
func typed(t *testing.T, err error, also ...error) {
	t.Helper()
	for _, e := range append(also, store.ErrDamaged, store.ErrWrongKey, store.ErrVersion, store.ErrNoVolume) {
		if errors.Is(err, e) {
			return
		}
	}
	t.Fatal(err)
}

// readOne reads one item, and compares it with the state.
func (v *vault) readOne(s *store.Store, k store.Key, state int) error {
	return s.View(bg, func(tx *store.Tx) error {
		want, here := v.at(k, state)
		got, ok, err := tx.Get(k)
		if err != nil {
			return err
		}
		if ok != here {
			return fmt.Errorf("there: %v, want %v", ok, here)
		}
		if here && k.Type == store.TypeExtent {
			e, err := store.ParseExtent(got)
			if err != nil {
				return err
			}
			got = make([]byte, e.Count)
			if err := s.Read(bg, []store.Read{{Extent: e, Dst: got}}); err != nil {
				return err
			}
		}
		if here && !bytes.Equal(got, want.bytes()) {
			return errors.New("other data than was written")
		}
		return nil
	})
}

// harmed says whether the attack was noticed.
func (f survey) harmed() bool { return f.opened != nil || len(f.damaged) > 0 }

// wantDamage checks that exactly these objects cannot be read any more.
func (f survey) wantDamage(t *testing.T, objects ...uint64) {
	t.Helper()
	want := map[store.Key]bool{}
	for _, o := range objects {
		want[dataKey(o, 700)] = true
	}
	if f.opened != nil || !maps.Equal(f.damaged, want) {
		t.Errorf("opening: %v; damaged: %v, want %v", f.opened, f.damaged, want)
	}
}

// both surveys a copy of h read-only and another one for writing, in memory, in a
// directory and at a host process, which must not differ in what they find.
func (v *vault) both(t *testing.T, h *memhost.Host) survey {
	t.Helper()
	f := v.survey(t, h.Clone(), true)
	w := v.survey(t, h.Clone(), false)
	if (f.opened == nil) != (w.opened == nil) || f.state != w.state || !maps.Equal(f.damaged, w.damaged) {
		t.Errorf("read-only: %+v; for writing: %+v", f, w)
	}
	v.elsewhere(t, h, true, f)
	v.elsewhere(t, h, false, f)
	return f
}

func sealedBytes(v *vault, e store.Extent) []byte {
	end := int(e.Offset) + int(e.Length) + 16
	return bytes.Clone(v.host.Segment(e.Segment)[e.Offset:end])
}

const unlocker = storetest.Unlocker("test")

// newVaultForFuzz returns a small closed volume.
func newVaultForFuzz(f *testing.F) *vault {
	v := &vault{history: newHistory(), host: memhost.New(memhost.Options{})}
	storetest.Create(f, v.host, store.MinCapacity)
	if err := storetest.Open(f, v.host).Close(); err != nil {
		f.Fatal(err)
	}
	return v
}
