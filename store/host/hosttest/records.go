package hosttest

import (
	"strings"

	"github.com/coffer-fs/coffer/store/host"
)

var recordTests = []test{
	{"absent", func(v *volume) {
		w := v.acquire()
		_, err := w.Get(ctx, "root")
		v.refused("get an absent record", err, host.ErrNotFound)
		_, err = v.handle().Get(ctx, "root")
		v.refused("get an absent record as a reader", err, host.ErrNotFound)
		_, err = w.Swap(ctx, "root", "1", []byte("x"))
		v.refused("swap an absent record that should be there", err, host.ErrConflict)
	}},
	{"swap", func(v *volume) {
		w := v.acquire()
		one := v.swap(w, "root", "", "one")
		if one == "" {
			v.Error("a record that is there has the version of an absent one")
		}
		v.record(w, "root", one, "one")
		two := v.swap(w, "root", one, "two")
		if two == one {
			v.Error("two states of a record have one version")
		}
		v.record(w, "root", two, "two")
		v.record(v.handle(), "root", two, "two")
	}},
	{"conflict", func(v *volume) {
		w := v.acquire()
		one := v.swap(w, "root", "", "one")
		_, err := w.Swap(ctx, "root", "", []byte("x"))
		v.refused("swap a record that should be absent", err, host.ErrConflict)
		two := v.swap(w, "root", one, "two")
		_, err = w.Swap(ctx, "root", one, []byte("x"))
		v.refused("swap an older state", err, host.ErrConflict)
		v.record(w, "root", two, "two")
	}},
	{"separate names", func(v *volume) {
		w := v.acquire()
		a := v.swap(w, "a", "", "one")
		b := v.swap(w, "b", "", "two")
		v.record(w, "a", a, "one")
		v.record(w, "b", b, "two")
	}},
	{"values are copied", func(v *volume) {
		w := v.acquire()
		value := []byte("one")
		version, err := w.Swap(ctx, "root", "", value)
		v.ok("swap", err)
		value[0] = 'X'
		r, err := w.Get(ctx, "root")
		v.ok("get", err)
		clear(r.Value)
		v.record(w, "root", version, "one")
	}},
	{"empty value is present", func(v *volume) {
		w := v.acquire()
		version := v.swap(w, "root", "", "")
		v.record(w, "root", version, "")
		_, err := w.Swap(ctx, "root", "", nil)
		v.refused("swap an empty record that should be absent", err, host.ErrConflict)
	}},
	{"largest values", func(v *volume) {
		w := v.acquire()
		large := strings.Repeat("v", host.MaxRecordSize)
		names := []string{"a", "b", "c", "d", "e", "f", "g", "h"}
		versions := make(map[string]host.Version)
		for range 3 {
			for _, name := range names {
				versions[name] = v.swap(w, name, versions[name], large)
			}
		}
		for _, name := range names {
			v.record(w, name, versions[name], large)
		}
		_, err := w.Swap(ctx, "a", versions["a"], []byte(large+"v"))
		v.refused("swap a value beyond the limit", err, host.ErrInvalid)
		v.record(w, "a", versions["a"], large)
	}},
	{"names", func(v *volume) {
		w := v.acquire()
		longest := strings.Repeat("n", host.MaxRecordName)
		for _, name := range []string{"a", "0", "root.1", "a-b_c.d", longest} {
			version := v.swap(w, name, "", "one")
			v.record(w, name, version, "one")
		}
		for _, name := range []string{"", "A", ".a", "-a", "_a", "a/b", "../a", "a b", "a\x00", "ä", longest + "n"} {
			_, err := w.Swap(ctx, name, "", nil)
			v.refused("swap "+name, err, host.ErrInvalid)
			_, err = w.Get(ctx, name)
			v.refused("get "+name, err, host.ErrInvalid)
		}
	}},
	{"last", func(v *volume) {
		h := v.handle()
		w, err := h.Acquire(ctx, host.AcquireOptions{})
		v.ok("acquire", err)
		one := v.swap(w, "root", "", "one")
		other := v.swap(w, "other", "", "other")
		v.ok("release", w.Release(ctx))
		v.ok("close", h.Close())

		w = v.acquire()
		v.record(w, "root", one, "one")
		two := v.swap(w, "root", one, "two")
		v.record(v.handle(), "root", two, "two")
		v.record(w, "other", other, "other")
	}},
}
