// Package anchortest is the one suite that every store of anchor records
// passes. Imported by tests only.
package anchortest

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/anchor"
)

// Open opens the store that is tested. Called again in one test, it gives the
// store as another process would find it, after the one before was let go.
type Open func(t *testing.T) anchor.Store

// Run tests a store. fresh gives the Open of an empty store for each test.
func Run(t *testing.T, fresh func(t *testing.T) Open) {
	for name, test := range map[string]func(*testing.T, Open){
		"none": testNone, "swap": testSwap, "conflict": testConflict, "reopen": testReopen, "race": testRace, "owners": testOwners,
	} {
		t.Run(name, func(t *testing.T) { test(t, fresh(t)) })
	}
}

var ctx = context.Background()

// Volume is a volume's name, told by a number.
func Volume(n int) kds.VolumeID { return kds.VolumeID{byte(n), byte(n >> 8), 1} }

// Record is a record of an owner, told by a number.
func Record(owner byte, version uint64) anchor.Record {
	return anchor.Record{Owner: anchor.Owner{owner}, Version: version, State: kds.AnchorState{Epoch: version, Hash: [32]byte{owner, 7}}}
}

func wantRecord(t *testing.T, s anchor.Store, v kds.VolumeID, want anchor.Record) {
	t.Helper()
	if got, err := s.Get(ctx, v); err != nil || got != want {
		t.Errorf("volume %x: %+v, %v; want %+v", v, got, err, want)
	}
}

func swap(t *testing.T, s anchor.Store, v kds.VolumeID, old, next anchor.Record) {
	t.Helper()
	if err := s.Swap(ctx, v, old, next); err != nil {
		t.Fatal(err)
	}
	wantRecord(t, s, v, next)
}

func testNone(t *testing.T, open Open) {
	s := open(t)
	wantRecord(t, s, Volume(1), anchor.Record{})
	if err := s.Swap(ctx, Volume(1), Record(1, 1), Record(1, 2)); !errors.Is(err, anchor.ErrConflict) {
		t.Errorf("replace what is not there: %v", err)
	}
	wantRecord(t, s, Volume(1), anchor.Record{})
}

func testSwap(t *testing.T, open Open) {
	s := open(t)
	swap(t, s, Volume(1), anchor.Record{}, Record(1, 1))
	swap(t, s, Volume(1), Record(1, 1), Record(1, 2))
	swap(t, s, Volume(1), Record(1, 2), Record(2, 3)) // another owner
	wantRecord(t, s, Volume(2), anchor.Record{})
}

// A record is replaced only if all of it is what it was.
func testConflict(t *testing.T, open Open) {
	s := open(t)
	now := Record(1, 2)
	swap(t, s, Volume(1), anchor.Record{}, now)
	others := []anchor.Record{{}, Record(1, 1), Record(1, 3), Record(2, 2), now, now}
	others[4].State.Hash[31]++
	others[5].State.Opening[0]++
	for _, old := range others {
		if err := s.Swap(ctx, Volume(1), old, Record(1, 9)); !errors.Is(err, anchor.ErrConflict) {
			t.Errorf("old %+v: %v", old, err)
		}
	}
	wantRecord(t, s, Volume(1), now)
}

// What was answered is there for whoever comes next.
func testReopen(t *testing.T, open Open) {
	s := open(t)
	swap(t, s, Volume(1), anchor.Record{}, Record(1, 1))
	swap(t, s, Volume(2), anchor.Record{}, Record(2, 1))
	swap(t, s, Volume(1), Record(1, 1), Record(1, 2))
	s = open(t)
	wantRecord(t, s, Volume(1), Record(1, 2))
	wantRecord(t, s, Volume(2), Record(2, 1))
}

// Of many that replace the same record one does.
func testRace(t *testing.T, open Open) {
	s := open(t)
	const rounds, askers = 10, 8
	old := anchor.Record{}
	for round := range rounds {
		var wg sync.WaitGroup
		errs := make([]error, askers)
		for i := range askers {
			wg.Go(func() { errs[i] = s.Swap(ctx, Volume(1), old, Record(byte(i+1), uint64(round+1))) })
		}
		wg.Wait()
		now, err := s.Get(ctx, Volume(1))
		if err != nil {
			t.Fatal(err)
		}
		won := 0
		for i, err := range errs {
			switch {
			case err == nil:
				won++
				if now != Record(byte(i+1), uint64(round+1)) {
					t.Errorf("round %d: %d won, the record is %+v", round, i, now)
				}
			case !errors.Is(err, anchor.ErrConflict):
				t.Errorf("round %d: %v", round, err)
			}
		}
		if won != 1 {
			t.Fatalf("round %d: %d of %d won", round, won, askers)
		}
		old = now
	}
}

// An owner has so many records and no more; what it has can still be changed,
// and leaves room when another gets it.
func testOwners(t *testing.T, open Open) {
	if testing.Short() {
		t.Skip("makes thousands of records")
	}
	s := open(t)
	for n := range anchor.MaxPerOwner {
		if err := s.Swap(ctx, Volume(n), anchor.Record{}, Record(1, 1)); err != nil {
			t.Fatalf("record %d: %v", n, err)
		}
	}
	next := Volume(anchor.MaxPerOwner)
	if err := s.Swap(ctx, next, anchor.Record{}, Record(1, 1)); !errors.Is(err, anchor.ErrFull) {
		t.Errorf("one more: %v", err)
	}
	swap(t, s, Volume(5), Record(1, 1), Record(1, 2))
	swap(t, s, next, anchor.Record{}, Record(2, 1))
	if err := s.Swap(ctx, next, Record(2, 1), Record(1, 2)); !errors.Is(err, anchor.ErrFull) {
		t.Errorf("one more by a move: %v", err)
	}
	swap(t, s, Volume(5), Record(1, 2), Record(2, 3))
	swap(t, s, next, Record(2, 1), Record(1, 2))
}
