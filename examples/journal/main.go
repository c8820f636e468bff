// Journal is a small enclave program that keeps a SQLite database in a volume.
//
//	journal [flags] init            make the volume; once
//	journal [flags] add TEXT        write a line
//	journal [flags] list            read all of them
//	journal [flags] upgrade FILE    run by a new build: bring the volume over from
//	                                the configuration FILE of the build before
//
// Whatever comes from the command line is the host's to say, and can do no worse
// than keep the program from working: where the volume and the KDS are. What
// decides who gets the key is compiled in, and so measured: enclave.hcl.
package main

import (
	"context"
	"database/sql"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"

	_ "github.com/ncruces/go-sqlite3/driver"
	"github.com/ncruces/go-sqlite3/vfs"

	"github.com/coffer-fs/coffer"
	"github.com/coffer-fs/coffer/config"
	"github.com/coffer-fs/coffer/fs/sqlitevfs"
	"github.com/coffer-fs/coffer/kds/attest/platform"
	"github.com/coffer-fs/coffer/migrate"
	"github.com/coffer-fs/coffer/store/host/remote"
)

//go:embed enclave.hcl
var measured []byte

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "journal:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	volume := flag.String("volume", "unix:host.sock#journal", "`URL` of the volume at a host process")
	kds := flag.String("kds.url", "", "`URL` of the KDS")
	cpu := flag.String("sim-cpu", "", "`DIR` of a simulated CPU; without it the program wants an SGX enclave")
	signed := flag.String("enclave", "", "`FILE` that says who signed the simulated enclave")
	flag.Parse()

	cfg, _, err := config.Parse("enclave.hcl", measured)
	if err != nil {
		return err
	}
	kind := platform.SGX
	if *cpu != "" {
		kind = platform.Sim
	}
	enclave, err := platform.Open(kind, platform.Options{CPU: *cpu, EnclaveFile: *signed, Config: cfg.Raw()})
	if err != nil {
		return err
	}
	if flag.Arg(0) == "init" {
		if err := remote.Create(ctx, *volume, remote.Options{}); err != nil {
			return err
		}
	}
	host, err := remote.Open(ctx, *volume, remote.Options{})
	if err != nil {
		return err
	}
	defer host.Close()
	o := coffer.Options{Config: cfg, Platform: enclave, Volume: host, KDSURL: *kds, Owner: "journal"}
	switch flag.Arg(0) {
	case "init":
		return coffer.Create(ctx, o, 0, 0)
	case "upgrade":
		return upgrade(ctx, o, flag.Arg(1))
	}
	return withJournal(ctx, o, func(db *sql.DB) error {
		switch flag.Arg(0) {
		case "add":
			_, err := db.ExecContext(ctx, "INSERT INTO line (text) VALUES (?)", strings.Join(flag.Args()[1:], " "))
			return err
		case "list":
			return list(ctx, db)
		}
		return errors.New("init, add TEXT, list or upgrade FILE")
	})
}

// withJournal opens the volume, the database in it, and closes both: what fn did is
// on the disk then.
func withJournal(ctx context.Context, o coffer.Options, fn func(*sql.DB) error) (err error) {
	v, err := coffer.Open(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, v.Close()) }()
	sqlitevfs.Register("volume", v.FS)
	defer vfs.Unregister("volume")
	db, err := sql.Open("sqlite3", "file:/journal.db?vfs=volume")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	const schema = "CREATE TABLE IF NOT EXISTS line (id INTEGER PRIMARY KEY, text TEXT NOT NULL)"
	if _, err := db.ExecContext(ctx, schema); err != nil {
		return err
	}
	return fn(db)
}

func list(ctx context.Context, db *sql.DB) error {
	rows, err := db.QueryContext(ctx, "SELECT id, text FROM line ORDER BY id")
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id int
		var text string
		if err := rows.Scan(&id, &text); err != nil {
			return err
		}
		fmt.Println(id, text)
	}
	return rows.Err()
}

// upgrade seals everything under the key that this build's configuration names.
// This enclave must satisfy both policies.
func upgrade(ctx context.Context, o coffer.Options, file string) error {
	old := o
	var err error
	if old.Config, _, err = config.Load(file); err != nil {
		return err
	}
	secret, err := coffer.NewSecret(ctx, o)
	if err != nil {
		return err
	}
	defer secret.Key.Destroy()
	done, err := migrate.Run(ctx, migrate.Options{Host: o.Volume, Old: coffer.Unlocker(old), New: secret})
	if err != nil {
		return err
	}
	fmt.Printf("sealed %d bytes anew\n", done.Bytes)
	return nil
}
