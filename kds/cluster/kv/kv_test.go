package kv_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coffer-fs/coffer/kds/cluster/etcdtest"
	"github.com/coffer-fs/coffer/kds/cluster/kv"
)

var ctx = context.Background()

func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store")
	open := func(t *testing.T) kv.Store {
		f, err := kv.OpenFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	suite(t, open)
	f := open(t)
	if _, err := kv.OpenFile(path); !errors.Is(err, kv.ErrInUse) {
		t.Error(err)
	}
	_ = f.Close()
}

// A change that would make the file larger than is read again is refused, and nothing
// is lost by that: what was there stays, and smaller changes go on.
func TestFullFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store")
	f, err := kv.OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const most = 1000
	f.Bound(most)
	kept := 0
	for i := 0; err == nil && i < most; i++ {
		name := fmt.Sprintf("%03d", i)
		ok, failed := f.Commit(ctx, []kv.If{{Name: name}}, []kv.Put{{Name: name, Data: make([]byte, 50)}})
		if err = failed; ok {
			kept++
		}
	}
	if !errors.Is(err, kv.ErrFull) || !strings.Contains(err.Error(), path) || kept == 0 {
		t.Fatalf("%d values, then %v", kept, err)
	}
	count := func() int {
		t.Helper()
		all, err := f.List(ctx, "")
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	if n := count(); n != kept {
		t.Errorf("%d values, want %d", n, kept)
	}
	if info, err := os.Stat(path); err != nil || info.Size() > most {
		t.Errorf("%d bytes, %v", info.Size(), err)
	}
	for _, p := range []kv.Put{{Name: "000"}, {Name: "again", Data: make([]byte, 50)}} {
		if ok, err := f.Commit(ctx, nil, []kv.Put{p}); !ok || err != nil {
			t.Errorf("%q: %v, %v", p.Name, ok, err)
		}
	}
	_ = f.Close()
	if f, err = kv.OpenFile(path); err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if n := count(); n != kept {
		t.Errorf("opened again: %d values, want %d", n, kept)
	}
}

func TestEtcd(t *testing.T) {
	e := etcdtest.Start(t)
	suite(t, func(t *testing.T) kv.Store {
		s, err := kv.OpenEtcd([]string{e.URL}, "/test/", kv.EtcdOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
	s, err := kv.OpenEtcd([]string{e.URL}, "/test/", kv.EtcdOptions{Timeout: 300 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	e.Kill()
	if _, err := s.Get(ctx, "a"); !errors.Is(err, kv.ErrUnreachable) {
		t.Errorf("without etcd: %v", err)
	}
	e.Run()
	for range 100 { // the client finds it again
		if v, err := s.Get(ctx, "race"); err == nil {
			if string(v[0].Data) != "100" {
				t.Errorf("after the restart: %q", v[0].Data)
			}
			return
		}
	}
	t.Error("the client does not find etcd again")
}

// suite is what every store does.
func suite(t *testing.T, open func(*testing.T) kv.Store) {
	t.Helper()
	s := open(t)
	commit := func(want bool, ifs []kv.If, puts ...kv.Put) {
		t.Helper()
		if ok, err := s.Commit(ctx, ifs, puts); err != nil || ok != want {
			t.Fatalf("commit: %v, %v; want %v", ok, err, want)
		}
	}
	get := func(name string) kv.Value {
		t.Helper()
		v, err := s.Get(ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		return v[0]
	}
	if v := get("a"); v.Revision != 0 || v.Data != nil {
		t.Errorf("nothing: %+v", v)
	}
	commit(true, []kv.If{{Name: "a"}}, kv.Put{Name: "a", Data: []byte("1")}, kv.Put{Name: "b", Data: []byte("2")})
	commit(false, []kv.If{{Name: "a"}}, kv.Put{Name: "a", Data: []byte("x")}) // create if absent
	a, b := get("a"), get("b")
	if string(a.Data) != "1" || string(b.Data) != "2" || a.Revision == 0 {
		t.Errorf("%+v, %+v", a, b)
	}
	commit(true, []kv.If{{Name: "a", Revision: a.Revision}}, kv.Put{Name: "a", Data: []byte("3")})
	commit(false, []kv.If{{Name: "a", Revision: a.Revision}, {Name: "b", Revision: b.Revision}}, kv.Put{Name: "b", Data: []byte("x")})
	commit(true, nil, kv.Put{Name: "list/1", Data: []byte("x")}, kv.Put{Name: "list/2", Data: []byte("y")}, kv.Put{Name: "lisu", Data: []byte("z")})
	l, err := s.List(ctx, "list/")
	if err != nil || len(l) != 2 || l[0].Name != "list/1" || string(l[1].Data) != "y" {
		t.Errorf("%+v, %v", l, err)
	}
	commit(true, nil, kv.Put{Name: "list/1"})
	if l, err := s.List(ctx, "list/"); err != nil || len(l) != 1 {
		t.Errorf("after removing: %+v, %v", l, err)
	}
	if _, err := s.Commit(ctx, nil, []kv.Put{{Name: "big", Data: make([]byte, kv.MaxValueBytes+1)}}); err == nil || !strings.Contains(err.Error(), "at most") {
		t.Errorf("a value that is too large: %v", err)
	}
	race(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t)
	if v := get("a"); string(v.Data) != "3" {
		t.Errorf("opened again: %+v", v)
	}
	if v, err := s.Get(ctx, "a", "none", "b"); err != nil || len(v) != 3 || string(v[2].Data) != "2" || v[1].Revision != 0 {
		t.Errorf("several: %+v, %v", v, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// race counts to 100 with compare-and-swap, in four goroutines.
func race(t *testing.T, s kv.Store) {
	t.Helper()
	var wg sync.WaitGroup
	var left atomic.Int32
	left.Store(100)
	for range 4 {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				for {
					v, err := s.Get(ctx, "race")
					if err != nil {
						t.Error(err)
						return
					}
					n := 0
					_, _ = fmt.Sscan(string(v[0].Data), &n)
					ok, err := s.Commit(ctx, []kv.If{{Name: "race", Revision: v[0].Revision}}, []kv.Put{{Name: "race", Data: fmt.Appendf(nil, "%d", n+1)}})
					if err != nil {
						t.Error(err)
						return
					}
					if ok {
						break
					}
				}
			}
		})
	}
	wg.Wait()
	if v, err := s.Get(ctx, "race"); err != nil || string(v[0].Data) != "100" {
		t.Errorf("counted to %s, %v", v[0].Data, err)
	}
}
