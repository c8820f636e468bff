package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

const (
	sqliteTransactions = 1000
	sqliteRows         = 10_000
)

// prepareSQLite makes a table of rows, and the transactions that change them.
func prepareSQLite(journal string) func(string) error {
	return func(dir string) error {
		var b strings.Builder
		fmt.Fprintf(&b, "PRAGMA journal_mode=%s; CREATE TABLE t(id INTEGER PRIMARY KEY, v BLOB);\n", journal)
		fmt.Fprintf(&b, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<%d) INSERT INTO t SELECT i, randomblob(100) FROM n;\n", sqliteRows)
		return sqlite(dir, b.String())
	}
}

// runSQLite makes transactions of one row each, all of them durable.
func runSQLite(journal string) func(string) (float64, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "PRAGMA journal_mode=%s; PRAGMA synchronous=FULL;\n", journal)
	for i := range sqliteTransactions {
		fmt.Fprintf(&b, "UPDATE t SET v=randomblob(100) WHERE id=%d;\n", i*7919%sqliteRows+1)
	}
	script := b.String()
	return func(dir string) (float64, error) { return sqliteTransactions, sqlite(dir, script) }
}

func sqlite(dir, script string) error {
	c := exec.Command("sqlite3", "-bail", filepath.Join(dir, "db"))
	c.Stdin = strings.NewReader(script)
	out, err := c.CombinedOutput()
	if err != nil {
		return fmt.Errorf("sqlite3: %w: %.200s", err, out)
	}
	return nil
}

// postgresSeconds is how long pgbench runs.
const postgresSeconds = 3

// postgres finds a program of the newest PostgreSQL: Debian has them outside of
// the path.
func postgres(program string) string {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + program)
	if len(found) == 0 {
		return program
	}
	return found[len(found)-1]
}

// asPostgres runs a program as the user that PostgreSQL insists on.
func asPostgres(dir string, args ...string) ([]byte, error) {
	c := exec.Command("setpriv", append([]string{"--reuid=postgres", "--regid=postgres", "--clear-groups"}, args...)...)
	c.Dir = dir
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	if err := c.Run(); err != nil {
		return nil, fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, out.Bytes())
	}
	return out.Bytes(), nil
}

// socketsOf is where a cluster in dir is reached: beside the mount, since securefs has no
// sockets.
func socketsOf(dir string) string { return filepath.Join(dir, "..", "..", "sockets") }

// preparePostgres starts a cluster in dir, reachable through a socket.
func preparePostgres(dir string) error {
	data, sockets := filepath.Join(dir, "data"), socketsOf(dir)
	if err := os.RemoveAll(sockets); err != nil {
		return err
	}
	for _, d := range []string{data, sockets} {
		if err := os.Mkdir(d, 0o700); err != nil {
			return err
		}
		if err := quiet("chown", "postgres:postgres", d); err != nil {
			return err
		}
	}
	for _, args := range [][]string{
		{postgres("initdb"), "-D", data, "-A", "trust", "--no-sync"},
		{postgres("pg_ctl"), "-D", data, "-w", "-s", "-l", filepath.Join(data, "log"),
			"-o", "-c listen_addresses='' -c unix_socket_directories=" + sockets, "start"},
		{postgres("pgbench"), "-h", sockets, "-i", "-q", "-s", "2", "postgres"},
		{"psql", "-h", sockets, "-qc", "CHECKPOINT", "postgres"},
	} {
		if _, err := asPostgres(dir, args...); err != nil {
			return err
		}
	}
	return nil
}

// runPostgres reports what pgbench measured, as an amount in the time it took.
func runPostgres(clients int) func(string) (float64, error) {
	return func(dir string) (float64, error) {
		n := strconv.Itoa(clients)
		out, err := asPostgres(dir, postgres("pgbench"), "-h", socketsOf(dir), "-n",
			"-T", strconv.Itoa(postgresSeconds), "-c", n, "-j", n, "postgres")
		if err != nil {
			return 0, err
		}
		_, rest, _ := strings.Cut(string(out), "number of transactions actually processed: ")
		count, _, _ := strings.Cut(rest, "\n")
		return strconv.ParseFloat(strings.TrimSpace(count), 64)
	}
}

func stopPostgres(dir string) error {
	_, err := asPostgres(dir, postgres("pg_ctl"), "-D", filepath.Join(dir, "data"), "-w", "-s", "-m", "fast", "stop")
	return err
}
