package transfer_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/local"
	"github.com/coffer-fs/coffer/store/host/transfer"
)

// A child receives its standard input into a directory.
const childVariable = "COFFER_TRANSFER_TEST_INTO"

func TestMain(m *testing.M) {
	dir := os.Getenv(childVariable)
	if dir == "" {
		os.Exit(m.Run())
	}
	if _, err := transfer.Into(ctx, os.Stdin, into(dir)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func receiveInChild(dir string, b []byte) *exec.Cmd {
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), childVariable+"="+dir, "GORACE=atexit_sleep_ms=0")
	c.Stdin, c.Stderr = bytes.NewReader(b), os.Stderr
	return c
}

// Whoever receives is killed again and again, at any moment. What there is meanwhile is
// the volume as it was before or as it is to be, or none if there was none; and it goes on.
func TestKilledReceiver(t *testing.T) {
	seed := seeded(t)
	rng := rand.New(rand.NewPCG(seed, 3))
	s := newSourceOf(t, seed, 64<<10)
	for range 60 { // so that putting them in their places takes a while
		must(t, s.w.Create(ctx, s.next, s.segment))
		s.tails[s.next] = 0
		s.append(s.next, 10)
		s.next++
	}
	first := s.point("first")
	s.change()
	second := s.point("second")
	whole, _ := stream(t, first, nil)
	grown, _ := stream(t, second, first)
	dir := filepath.Join(t.TempDir(), "copy")
	n, _ := killUntilReceived(t, rng, dir, whole, func() error {
		v, err := local.Open(dir)
		if errors.Is(err, local.ErrPartial) || errors.Is(err, host.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		must(t, v.Close())
		same(t, dir, first, "incoming")
		return nil
	})
	same(t, dir, first, "incoming")
	m, arrived := killUntilReceived(t, rng, dir, grown, func() error {
		v, err := local.Open(dir)
		if err != nil {
			return err
		}
		defer v.Close()
		r, _, err := v.Received(ctx)
		if err != nil {
			return err
		}
		want := first
		if r.Point == second.Contents().Info.ID {
			want = second
		}
		same(t, dir, want, "incoming")
		return nil
	})
	same(t, dir, second)
	t.Logf("%d kills, %d of them when all had come", n+m, arrived)
}

// killUntilReceived kills receivers until one comes to its end. check looks at what each
// leaves. It returns how many were killed, and how many when all had arrived.
func killUntilReceived(t *testing.T, rng *rand.Rand, dir string, b []byte, check func() error) (kills, arrived int) {
	t.Helper()
	limit := 8 * time.Millisecond
	for {
		c := receiveInChild(dir, b)
		must(t, c.Start())
		timer := time.AfterFunc(time.Duration(rng.Int64N(int64(limit))), func() { _ = c.Process.Kill() })
		err := c.Wait()
		timer.Stop()
		if err == nil {
			return kills, arrived
		}
		if c.ProcessState.Exited() {
			v, openErr := local.Open(dir) // it was done, and the next one finds a volume
			if openErr != nil {
				t.Fatalf("%v; %v", err, openErr)
			}
			must(t, v.Close())
			return kills, arrived
		}
		kills++
		limit += limit / 8
		if _, err := os.Stat(filepath.Join(dir, "arrived")); err == nil {
			arrived++
		}
		if err := check(); err != nil {
			t.Fatalf("after kill %d: %v", kills, err)
		}
	}
}

// What had arrived and is in its place is removed last, and that may be cut off anywhere.
func TestArrivalCutOff(t *testing.T) {
	s := newSourceOf(t, seeded(t), 64<<10)
	first := s.point("first")
	s.change()
	second := s.point("second")
	whole, _ := stream(t, first, nil)
	grown, m := stream(t, second, first)
	dir := filepath.Join(t.TempDir(), "copy")
	must(t, receive(dir, whole))
	must(t, receive(dir, grown))
	arrived := filepath.Join(dir, "arrived")
	for name, files := range map[string]map[string][]byte{
		"nothing":      {},
		"a tail":       {"1.tail": []byte("x")},
		"the manifest": {"manifest": m.Append(nil)},
		"both":         {"manifest": m.Append(nil), "1.tail": []byte("x"), "progress": nil},
	} {
		must(t, os.Mkdir(arrived, 0o700))
		for file, b := range files {
			must(t, os.WriteFile(filepath.Join(arrived, file), b, 0o600))
		}
		t.Log(name)
		same(t, dir, second)
	}
}
