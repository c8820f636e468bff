package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/coffer-fs/coffer/internal/freeaddr"
	"github.com/coffer-fs/coffer/store/seal"
)

// kills N COMMAND...: the command is killed N times, each time at another moment.
// COFFER_SEED gives the moments of a run that failed.
func kills(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: kills N COMMAND ARGS")
	}
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("COFFER_SEED"); s != "" {
		var err error
		seed, err = strconv.ParseUint(s, 10, 64)
		ts.Check(err)
	}
	ts.Logf("COFFER_SEED=%d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for range number(ts, args[0]) {
		killAfter(ts, time.Duration(rng.Int64N(int64(killedWithin))), args[1:])
	}
}

// killedWithin is how long a command that is killed runs at most: long enough for some
// of what it does, and too short for all.
const killedWithin = 600 * time.Millisecond

func killAfter(ts *testscript.TestScript, d time.Duration, args []string) {
	ctx, stop := context.WithTimeout(context.Background(), d)
	defer stop()
	if out, err := scriptCommand(ctx, ts, args).CombinedOutput(); ctx.Err() == nil {
		ts.Fatalf("it was not killed: %v\n%s", err, out)
	}
}

// scriptCommand is a command as the script would run it, that is killed when ctx ends.
func scriptCommand(ctx context.Context, ts *testscript.TestScript, args []string) *exec.Cmd {
	path, err := lookPath(ts, args[0])
	ts.Check(err)
	c := exec.CommandContext(ctx, path, args[1:]...)
	c.Dir = ts.MkAbs(".")
	c.Env = append(os.Environ(), "XDG_RUNTIME_DIR="+ts.Getenv("XDG_RUNTIME_DIR"))
	return c
}

// lookPath finds a command as the script does.
func lookPath(ts *testscript.TestScript, name string) (string, error) {
	for _, dir := range filepathList(ts.Getenv("PATH")) {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", exec.ErrNotFound
}

// forgotten BEFORE AFTER: no sector of a segment, or of what is kept for one, in the
// directory BEFORE is in any file of the volume AFTER.
func forgotten(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: forgotten BEFORE AFTER")
	}
	old := map[string]string{}
	eachSector(ts, args[0], func(path string, sector []byte) {
		if filepath.Ext(path) == ".seg" {
			old[string(sector)] = path
		}
	})
	if len(old) < 100 {
		ts.Fatalf("a test of nothing: %d sectors", len(old))
	}
	eachSector(ts, args[1], func(path string, sector []byte) {
		if from := old[string(sector)]; from != "" {
			ts.Fatalf("%s has a sector of %s", path, from)
		}
	})
}

// eachSector calls do for all sectors of the files of a directory but empty ones.
func eachSector(ts *testscript.TestScript, dir string, do func(path string, sector []byte)) {
	ts.Check(filepath.WalkDir(ts.MkAbs(dir), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		for ; len(b) >= seal.SectorSize; b = b[seal.SectorSize:] {
			if s := b[:seal.SectorSize]; bytes.Trim(s, "\x00") != nil {
				do(path, s)
			}
		}
		return err
	}))
}

// port NAME: an address of this machine at which nobody listens is in $NAME.
func port(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: port NAME")
	}
	address, err := freeaddr.New()
	ts.Check(err)
	ts.Setenv(args[0], address)
}

// scrape is the command "scrape URL", which prints what is there.
func scrape() {
	if err := scrapeTo(os.Stdout, os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "scrape:", err)
		os.Exit(1)
	}
}

func scrapeTo(w io.Writer, url string) error {
	r, err := http.Get(url)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, r.Body)
	return errors.Join(err, r.Body.Close())
}
