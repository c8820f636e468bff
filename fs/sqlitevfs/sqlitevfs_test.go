package sqlitevfs_test

import (
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"testing"

	"github.com/ncruces/go-sqlite3"
	_ "github.com/ncruces/go-sqlite3/driver"
	"github.com/ncruces/go-sqlite3/vfs"

	cofs "github.com/coffer-fs/coffer/fs"
	memory "github.com/coffer-fs/coffer/fs/fstest"
	"github.com/coffer-fs/coffer/fs/sqlitevfs"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// register makes f known to SQLite by the name of the test.
func register(t testing.TB, f *cofs.FS) (name string) {
	name = strings.Map(func(r rune) rune {
		if strings.ContainsRune("/?&#=", r) {
			return '_'
		}
		return r
	}, t.Name())
	sqlitevfs.Register(name, f)
	t.Cleanup(func() { vfs.Unregister(name) })
	return name
}

// openDB opens the database /dir/db of a filesystem in memory.
func openDB(t testing.TB, f *cofs.FS, pragmas ...string) *sql.DB {
	t.Helper()
	uri := "file:/dir/db?vfs=" + register(t, f) + "&_txlock=immediate&_pragma=busy_timeout(10000)"
	for _, p := range pragmas {
		uri += "&_pragma=" + p
	}
	db, err := sql.Open("sqlite3", uri)
	must(t, err)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func newFS(t testing.TB) *cofs.FS {
	f := memory.Memory(t)
	must(t, f.MkdirAll("/dir", 0o700))
	return f
}

func exec(t testing.TB, db *sql.DB, query string, args ...any) {
	t.Helper()
	if _, err := db.Exec(query, args...); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

func value[T any](t testing.TB, db *sql.DB, query string) (v T) {
	t.Helper()
	must(t, db.QueryRow(query).Scan(&v))
	return v
}

// modes are the ways to keep a journal, with what each leaves beside the database
// after a commit.
var modes = []struct {
	name     string
	pragmas  []string
	leftover string
}{
	{"delete", []string{"journal_mode(delete)"}, ""},
	{"truncate", []string{"journal_mode(truncate)"}, "/dir/db-journal"},
	{"persist", []string{"journal_mode(persist)"}, "/dir/db-journal"},
	{"memory", []string{"journal_mode(memory)"}, ""},
	{"wal", []string{"locking_mode(exclusive)", "journal_mode(wal)"}, "/dir/db-wal"},
}

func TestJournalModes(t *testing.T) {
	for _, m := range modes {
		t.Run(m.name, func(t *testing.T) {
			f := newFS(t)
			db := openDB(t, f, m.pragmas...)
			db.SetMaxOpenConns(1) // what WAL needs without shared memory
			if got := value[string](t, db, "PRAGMA journal_mode"); got != m.name {
				t.Fatalf("journal mode %s", got)
			}
			exec(t, db, "CREATE TABLE t (id INTEGER PRIMARY KEY, v BLOB)")
			for i := range 50 {
				exec(t, db, "INSERT INTO t VALUES (?, zeroblob(?))", i, i*100)
			}
			tx, err := db.Begin()
			must(t, err)
			_, err = tx.Exec("DELETE FROM t")
			must(t, err)
			must(t, tx.Rollback())
			exec(t, db, "UPDATE t SET v = zeroblob(5000) WHERE id % 2")
			if n := value[int](t, db, "SELECT sum(length(v)) FROM t"); n != 25*5000+100*(24*25) {
				t.Errorf("%d bytes", n)
			}
			if r := value[string](t, db, "PRAGMA integrity_check"); r != "ok" {
				t.Error(r)
			}
			if m.leftover != "" {
				if _, err := f.Stat(m.leftover); err != nil {
					t.Error(err)
				}
			}
			exec(t, db, "VACUUM")
			must(t, db.Close())
			es, err := f.ReadDir("/dir")
			must(t, err)
			if len(es) != 1 && m.name != "truncate" && m.name != "persist" {
				t.Errorf("left behind: %v", es)
			}
		})
	}
}

// What does not fit in memory goes to files of the volume that have no name, and
// is gone when the database is closed.
func TestTemporaryFiles(t *testing.T) {
	f := newFS(t)
	db := openDB(t, f, "temp_store(file)", "cache_size(-100)")
	db.SetMaxOpenConns(1)
	exec(t, db, "CREATE TEMP TABLE big AS WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM n WHERE i < 3000) SELECT i, randomblob(400) b FROM n")
	exec(t, db, "CREATE TABLE sorted AS SELECT * FROM big ORDER BY b")
	if n := value[int](t, db, "SELECT count(*) FROM sorted"); n != 3000 {
		t.Errorf("%d rows", n)
	}
	es, err := f.ReadDir("/")
	must(t, err)
	if len(es) != 1 {
		t.Errorf("visible: %v", es)
	}
}

// Connections of one process wait for each other, and none sees half a
// transaction.
func TestConcurrent(t *testing.T) {
	f := newFS(t)
	db := openDB(t, f)
	exec(t, db, "CREATE TABLE account (id INTEGER PRIMARY KEY, balance INT)")
	exec(t, db, "INSERT INTO account VALUES (1, 1000), (2, 1000)")
	const writers, rounds = 4, 25
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range rounds {
				if err := transfer(db, w+i); err != nil {
					t.Error(err)
					return
				}
			}
		})
		wg.Go(func() {
			for range rounds {
				var sum int
				if err := db.QueryRow("SELECT sum(balance) FROM account").Scan(&sum); err != nil || sum != 2000 {
					t.Errorf("sum %d, %v", sum, err)
					return
				}
			}
		})
	}
	wg.Wait()
	if n := value[int](t, db, "SELECT balance FROM account WHERE id = 2"); n != 1000+writers*rounds*(rounds-1)/2+rounds*writers*(writers-1)/2 {
		t.Errorf("balance %d", n)
	}
}

func transfer(db *sql.DB, amount int) error {
	tx, err := db.Begin()
	if err != nil {
		return err
	}
	_, err = tx.Exec("UPDATE account SET balance = balance - ? WHERE id = 1", amount)
	if err == nil {
		_, err = tx.Exec("UPDATE account SET balance = balance + ? WHERE id = 2", amount)
	}
	if err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

// A writer that has waited long enough is told that the database is busy.
func TestBusy(t *testing.T) {
	f := newFS(t)
	name := register(t, f)
	open := func() *sqlite3.Conn {
		c, err := sqlite3.Open("file:/dir/db?vfs=" + name)
		must(t, err)
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	a, b := open(), open()
	must(t, a.Exec("CREATE TABLE t (x); INSERT INTO t VALUES (1); BEGIN IMMEDIATE"))
	if err := b.Exec("BEGIN IMMEDIATE"); !errors.Is(err, sqlite3.BUSY) {
		t.Errorf("second writer: %v", err)
	}
	must(t, b.Exec("BEGIN; SELECT * FROM t"))
	must(t, a.Exec("INSERT INTO t VALUES (2)"))
	if err := a.Exec("COMMIT"); !errors.Is(err, sqlite3.BUSY) {
		t.Errorf("commit past a reader: %v", err)
	}
	if err := open().Exec("SELECT * FROM t"); !errors.Is(err, sqlite3.BUSY) {
		t.Errorf("new reader while a writer waits: %v", err)
	}
	must(t, b.Exec("COMMIT"))
	must(t, a.Exec("COMMIT"))
	must(t, b.Exec("BEGIN IMMEDIATE; COMMIT"))
}

func TestErrors(t *testing.T) {
	f := newFS(t)
	name := register(t, f)
	for _, c := range []struct {
		db   string
		want error
	}{
		{"/none/db", sqlite3.CANTOPEN}, {"/dir", sqlite3.CANTOPEN_ISDIR}, {"/loop", sqlite3.CANTOPEN_SYMLINK},
	} {
		must(t, errors.Join(f.RemoveAll("/loop"), f.Symlink("loop", "/loop")))
		c1, err := sqlite3.Open("file:" + c.db + "?vfs=" + name)
		if err == nil {
			err = c1.Exec("CREATE TABLE t (x)")
			_ = c1.Close()
		}
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.db, err)
		}
	}
}

// A database has one journal, whatever it is called.
func TestLinks(t *testing.T) {
	f := newFS(t)
	must(t, f.Symlink("dir/db", "/link"))
	db := openDB(t, f, "journal_mode(persist)")
	exec(t, db, "CREATE TABLE t (x)")
	must(t, db.Close())
	c, err := sqlite3.Open("file:/link?vfs=" + register(t, f))
	must(t, err)
	must(t, c.Exec("PRAGMA journal_mode=persist; INSERT INTO t VALUES (1)"))
	must(t, c.Close())
	if _, err := f.Stat("/link-journal"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a journal beside the link: %v", err)
	}
}

func ExampleRegister() {
	f, closeFS := memory.Example()
	defer closeFS()
	sqlitevfs.Register("volume", f)
	defer vfs.Unregister("volume")
	db, err := sql.Open("sqlite3", "file:/notes.db?vfs=volume")
	if err != nil {
		panic(err)
	}
	defer db.Close()
	_, err = db.Exec("CREATE TABLE note (text); INSERT INTO note VALUES ('hello')")
	if err != nil {
		panic(err)
	}
	var text string
	err = db.QueryRow("SELECT text FROM note").Scan(&text)
	fmt.Println(text, err)
	// Output: hello <nil>
}
