package sqlitevfs_test

import (
	"context"
	"database/sql"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ncruces/go-sqlite3/vfs"

	cofs "github.com/coffer-fs/coffer/fs"
	"github.com/coffer-fs/coffer/fs/sqlitevfs"
	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/host/memhost"
	"github.com/coffer-fs/coffer/store/storetest"
)

var (
	seedFlag = flag.Uint64("seed", 0, "seed of the random tests, 0 for a new one")
	kills    = flag.Int("kills", 12, "how often TestKilled kills each kind of journal")
)

// TestKilled cuts the power at a random host call, of which each unsynced write
// survives, is lost or is torn, again and again on one volume. The database is
// sound after each, and has every transaction that was acknowledged.
func TestKilled(t *testing.T) {
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	for i, m := range modes {
		if m.name == "memory" {
			continue // SQLite itself does not promise it
		}
		t.Run(m.name, func(t *testing.T) {
			t.Logf("-seed %d", seed)
			k := &killing{t: t, rnd: rand.New(rand.NewPCG(seed, uint64(i))), pragmas: m.pragmas, host: memhost.New(memhost.Options{})}
			storetest.Create(t, k.host, 64<<20)
			for range *kills {
				k.round()
			}
			if k.acked == 0 {
				t.Error("nothing was committed in all rounds")
			}
		})
	}
}

type killing struct {
	t       *testing.T
	rnd     *rand.Rand
	pragmas []string
	host    *memhost.Host
	acked   int // transactions
}

// round opens what the last crash left, checks it, works until the power goes.
func (k *killing) round() {
	st := storetest.Open(k.t, k.host)
	if k.acked == 0 {
		_ = cofs.Format(context.Background(), st, 0, 0) // or it is there
	}
	f, err := cofs.Open(context.Background(), st, cofs.Options{})
	must(k.t, err)
	db := k.open(f)
	k.check(db)
	k.host.CutAt(k.host.Calls()+1+k.rnd.IntN(60), memhost.Cut(k.rnd.IntN(3)+1))
	for k.transaction(db) == nil {
		k.acked++
	}
	k.host = k.crash(db, f, st)
}

func (k *killing) open(f *cofs.FS) *sql.DB {
	name := fmt.Sprintf("killed%d", k.rnd.Uint64())
	sqlitevfs.Register(name, f)
	k.t.Cleanup(func() { vfs.Unregister(name) })
	uri := "file:/db?vfs=" + name
	for _, p := range append(slices.Clone(k.pragmas), "synchronous(extra)", "cache_size(-50)") {
		uri += "&_pragma=" + p
	}
	db, err := sql.Open("sqlite3", uri)
	must(k.t, err)
	db.SetMaxOpenConns(1)
	exec(k.t, db, "CREATE TABLE IF NOT EXISTS a (id INTEGER PRIMARY KEY, v BLOB)")
	exec(k.t, db, "CREATE TABLE IF NOT EXISTS b (id INTEGER PRIMARY KEY, n INT)")
	return db
}

// check compares what is there with what was acknowledged.
func (k *killing) check(db *sql.DB) {
	k.t.Helper()
	if r := value[string](k.t, db, "PRAGMA integrity_check"); r != "ok" {
		k.t.Fatalf("after %d transactions: %s", k.acked, r)
	}
	a, last := value[int](k.t, db, "SELECT count(*) FROM a"), value[int](k.t, db, "SELECT coalesce(max(id), 0) FROM a")
	b := value[int](k.t, db, "SELECT coalesce(sum(n), 0) FROM b")
	if a != last || b != a || a < k.acked || a > k.acked+1 {
		k.t.Fatalf("%d transactions acknowledged; the tables have %d to %d, and %d", k.acked, a, last, b)
	}
	k.acked = a
}

// transaction adds a row to a and counts it in b.
func (k *killing) transaction(db *sql.DB) error {
	tx, err := db.Begin()
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // of no effect after Commit
	if _, err := tx.Exec("INSERT INTO a VALUES (?, randomblob(?))", k.acked+1, k.rnd.IntN(20_000)); err != nil {
		return err
	}
	if _, err := tx.Exec("INSERT INTO b VALUES (?, 1) ON CONFLICT (id) DO UPDATE SET n = n + 1", k.acked%7); err != nil {
		return err
	}
	return tx.Commit()
}

// crash gives what is on the disk afterwards.
func (k *killing) crash(db *sql.DB, f *cofs.FS, st *store.Store) *memhost.Host {
	after := k.host.Crash(memhost.CrashOptions{Seed: k.rnd.Uint64()})
	// The process is gone, whatever it says.
	_ = db.Close()
	_ = f.Close()
	_ = st.Close()
	return after
}
