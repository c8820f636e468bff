package audit

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/coffer-fs/coffer/kds/internal/secretfile"
)

// File is what a log is kept in; *os.File is one.
type File interface {
	io.Reader
	io.Writer
	io.Seeker
	io.Closer
	Truncate(size int64) error
	Sync() error
}

// Log is an open audit log.
type Log struct {
	now func() time.Time

	mu      sync.Mutex // guards what follows
	state   State      // after everything in waiting is written
	waiting batch
	writing bool  // drain runs
	broken  error // the first failure, final
	idle    *sync.Cond

	file File // owned by drain while it runs, then by Close
}

// batch is lines that share one sync.
type batch struct {
	text  []byte
	count int
	done  chan struct{} // closed when on the disk, or failed
	err   *error        // set before done is closed
}

func newBatch() batch { return batch{done: make(chan struct{}), err: new(error)} }

// Open opens the log in path, verifies all of it, and appends a line that says
// so. It makes the file if there is none. One process at a time.
func Open(path string, now func() time.Time) (*Log, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open audit log: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("open audit log: %w: %q", ErrInUse, path)
	}
	if err := secretfile.SyncDir(filepath.Dir(path)); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("open audit log: %w", err)
	}
	l, err := New(f, now)
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("open audit log %q: %w", path, err)
	}
	return l, nil
}

// New is Open for a file that the caller opened for reading and appending. The
// log closes it.
func New(f File, now func() time.Time) (*Log, error) {
	if now == nil {
		now = time.Now
	}
	s, err := Verify(f, nil)
	if err != nil {
		return nil, err
	}
	reason := ""
	if s.Torn > 0 {
		reason = fmt.Sprintf("cut off %d bytes of a line that was never finished", s.Torn)
		if err := errors.Join(f.Truncate(s.Bytes), f.Sync()); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrBroken, err)
		}
		s.Torn = 0
	}
	if _, err := f.Seek(s.Bytes, io.SeekStart); err != nil {
		return nil, err
	}
	l := &Log{now: now, state: s, waiting: newBatch(), file: f}
	l.idle = sync.NewCond(&l.mu)
	return l, l.Append(Entry{Event: Started, Reason: reason})
}

// Append writes an entry and returns when it is on the disk. After any error
// but ErrTooLong and ErrBusy the log is broken.
func (l *Log) Append(e Entry) error {
	l.mu.Lock()
	b, err := l.enqueue(e)
	if err != nil {
		l.mu.Unlock()
		return err
	}
	if !l.writing {
		l.writing = true
		go l.drain() // Close waits for it
	}
	l.mu.Unlock()
	<-b.done
	return *b.err
}

// enqueue adds a line to the waiting batch. l.mu is held.
func (l *Log) enqueue(e Entry) (batch, error) {
	if l.broken != nil {
		return batch{}, l.broken
	}
	if l.waiting.count >= MaxWaiting {
		return batch{}, ErrBusy
	}
	e.Sequence, e.Time = l.state.Lines+1, l.now().UTC()
	text, next, err := encode(l.state.Chain, e)
	if err != nil {
		return batch{}, err
	}
	l.state = State{Lines: l.state.Lines + 1, Bytes: l.state.Bytes + int64(len(text)), Chain: next}
	l.waiting.text = append(l.waiting.text, text...)
	l.waiting.count++
	return l.waiting, nil
}

// drain writes batches until none waits. l.mu is not held while it writes.
func (l *Log) drain() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.waiting.count > 0 {
		b := l.waiting
		l.waiting = newBatch()
		if l.broken == nil {
			l.mu.Unlock()
			err := l.write(b.text)
			l.mu.Lock()
			l.broken = err
		}
		*b.err = l.broken
		close(b.done)
	}
	l.writing = false
	l.idle.Broadcast()
}

func (l *Log) write(text []byte) error {
	if _, err := l.file.Write(text); err != nil {
		return fmt.Errorf("%w: %w", ErrBroken, err)
	}
	if err := l.file.Sync(); err != nil {
		return fmt.Errorf("%w: %w", ErrBroken, err)
	}
	return nil
}

// Err is nil while the log can be written.
func (l *Log) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.broken
}

// State is where the log stands.
func (l *Log) State() State {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state
}

// Close waits for what is being written and closes the file.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.writing {
		l.idle.Wait()
	}
	if errors.Is(l.broken, ErrClosed) {
		return nil
	}
	l.broken = ErrClosed
	return l.file.Close()
}
