package local

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/coffer-fs/coffer/store/host"
)

const (
	fenceName = "fence"
	turnName  = "turn"
	fenceSize = 16 // epoch 8, claim 8

	// maxIdleFences bounds the descriptors of the fence that are kept open.
	maxIdleFences = 16
	// claimed is a claim by someone who waits for the fence.
	claimed = math.MaxUint64
)

// fence keeps writers of past epochs from changing anything.
//
// The file holds the epoch that may write. A change holds a shared flock on it
// from before it reads the epoch until it is done; whoever takes the volume
// over changes the epoch under an exclusive one. So a change either is done
// before a takeover returns, or is refused.
//
// Shared locks that overlap for ever would keep the exclusive one out. Whoever
// wants it therefore says so in the claim, while it holds the lock on "turn";
// writers that see a claim wait for that lock first.
//
// A flock belongs to a descriptor, so each call has one of its own. Nothing in
// the file needs to be durable: after a crash nobody writes, and whoever
// acquires the volume writes it anew.
type fence struct {
	root *os.File

	mu     sync.Mutex
	idle   []*os.File // guarded by mu
	closed bool       // guarded by mu
}

// fenceState is the content of the file.
type fenceState struct{ epoch, claim uint64 }

// enter begins a change by the writer of that epoch. It is fenced, or nobody
// can take the volume over until leave is called.
func (f *fence) enter(ctx context.Context, epoch uint64) (leave func(), err error) {
	file, err := f.get()
	if err != nil {
		return nil, err
	}
	for {
		state, err := lockedState(ctx, file)
		if err == nil && state.epoch != epoch {
			err = host.ErrFenced
		}
		if err != nil {
			file.Close()
			return nil, err
		}
		if state.claim == 0 {
			return func() { f.put(file) }, nil
		}
		if err := f.giveWay(ctx, file); err != nil {
			file.Close()
			return nil, err
		}
	}
}

// lockedState takes the shared lock and reads the file.
func lockedState(ctx context.Context, file *os.File) (fenceState, error) {
	if err := lock(ctx, file, unix.LOCK_SH); err != nil {
		return fenceState{}, err
	}
	return readFence(file)
}

// giveWay lets whoever claimed the fence have its turn. If the claim is still
// there afterwards, its owner died, and the claim is taken back.
func (f *fence) giveWay(ctx context.Context, file *os.File) error {
	if err := unlock(file); err != nil {
		return err
	}
	turn, err := openFile(f.root, turnName, unix.O_RDWR|unix.O_CREAT)
	if err != nil {
		return err
	}
	defer turn.Close()
	if err := lock(ctx, turn, unix.LOCK_SH); err != nil {
		return err
	}
	return writeClaim(file, 0)
}

// check refuses a writer of another epoch, for calls that change nothing.
func (f *fence) check(epoch uint64) error {
	file, err := f.get()
	if err != nil {
		return err
	}
	defer f.putUnlocked(file)
	state, err := readFence(file)
	if err == nil && state.epoch != epoch {
		err = host.ErrFenced
	}
	return err
}

// take locks the fence against all writers and runs do with what is in it.
// What do returns is the epoch from then on; after an error nothing changes.
func (f *fence) take(ctx context.Context, do func(fenceState) (epoch uint64, err error)) error {
	turn, err := openFile(f.root, turnName, unix.O_RDWR|unix.O_CREAT)
	if err != nil {
		return err
	}
	defer turn.Close()
	if err := lock(ctx, turn, unix.LOCK_EX); err != nil {
		return err
	}
	file, err := openFile(f.root, fenceName, unix.O_RDWR|unix.O_CREAT)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := writeClaim(file, claimed); err != nil {
		return err
	}
	defer writeClaim(file, 0)
	if err := lock(ctx, file, unix.LOCK_EX); err != nil {
		return err
	}
	before, err := readFence(file)
	if err != nil {
		return err
	}
	epoch, err := do(before)
	if err != nil {
		return err
	}
	_, err = file.WriteAt(binary.BigEndian.AppendUint64(nil, epoch), 0)
	return err
}

func writeClaim(file *os.File, claim uint64) error {
	_, err := file.WriteAt(binary.BigEndian.AppendUint64(nil, claim), 8)
	return err
}

func readFence(file *os.File) (fenceState, error) {
	var p [fenceSize]byte
	if _, err := file.ReadAt(p[:], 0); err == io.EOF {
		return fenceState{}, damaged(fmt.Errorf("%s is cut short", fenceName))
	} else if err != nil {
		return fenceState{}, err
	}
	return fenceState{binary.BigEndian.Uint64(p[:]), binary.BigEndian.Uint64(p[8:])}, nil
}

// get takes a descriptor of the fence that no other call uses.
func (f *fence) get() (*os.File, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, errClosed
	}
	if n := len(f.idle); n > 0 {
		file := f.idle[n-1]
		f.idle = f.idle[:n-1]
		return file, nil
	}
	return openFile(f.root, fenceName, unix.O_RDWR)
}

// put unlocks a descriptor and keeps it for the next call.
func (f *fence) put(file *os.File) {
	if unlock(file) != nil {
		file.Close() // which unlocks too
		return
	}
	f.putUnlocked(file)
}

func (f *fence) putUnlocked(file *os.File) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed || len(f.idle) >= maxIdleFences {
		file.Close()
		return
	}
	f.idle = append(f.idle, file)
}

func (f *fence) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	for _, file := range f.idle {
		file.Close()
	}
	f.idle = nil
}
