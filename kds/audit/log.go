package audit

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Log is an open audit log.
type Log struct {
	now   func() time.Time
	key   ed25519.PrivateKey
	store Store // called by drain only

	mu      sync.Mutex // guards what follows
	state   State      // after everything in waiting is written
	head    SignedHead // the last that is on the disk
	waiting batch
	writing bool  // drain runs
	broken  error // the first failure, final
	idle    *sync.Cond
}

// batch is lines that share a signature and a sync.
type batch struct {
	head  Head
	text  []byte
	count int
	done  chan struct{} // closed when on the disk, or failed
	err   *error        // set before done is closed
}

func newBatch() batch { return batch{done: make(chan struct{}), err: new(error)} }

// Open goes on with the log in a store, and appends a line that says so. What
// the node signs is signed by k. It verifies the last batch and nothing before
// it, so that opening does not depend on the log's size; Verify looks at all. If
// the last batch was signed by another key, the first line names that.
func Open(ctx context.Context, s Store, k ed25519.PrivateKey, now func() time.Time) (*Log, error) {
	if now == nil {
		now = time.Now
	}
	l := &Log{now: now, key: k, store: s, waiting: newBatch()}
	l.idle = sync.NewCond(&l.mu)
	text, err := s.Last(ctx)
	if err != nil {
		return nil, fmt.Errorf("open audit log: %w", err)
	}
	reason := ""
	if len(text) > 0 {
		if l.state, err = Verify(bytes.NewReader(text), VerifyOptions{}, nil); err != nil {
			return nil, fmt.Errorf("open audit log: its last batch: %w", err)
		}
		l.head = l.state.Head
		if !l.head.Key.Equal(k.Public()) {
			reason = fmt.Sprintf("the lines before are signed by key %x", []byte(l.head.Key))
		}
	}
	if err := l.Append(Entry{Event: Started, Reason: reason}); err != nil {
		return nil, fmt.Errorf("open audit log: %w", err)
	}
	return l, nil
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
	if l.waiting.count >= MaxWaiting || len(l.waiting.text) >= MaxBatchBytes-2*MaxLineBytes {
		return batch{}, ErrBusy
	}
	e.Sequence, e.Time = l.state.Lines+1, l.now().UTC()
	text, next, err := encode(l.state.Chain, e)
	if err != nil {
		return batch{}, err
	}
	if l.waiting.count == 0 {
		l.waiting.head = Head{First: e.Sequence, Before: l.state.Chain}
	}
	l.waiting.head.Last, l.waiting.head.Chain = e.Sequence, next
	l.state.Lines, l.state.Chain = e.Sequence, next
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
			head, err := l.write(b)
			l.mu.Lock()
			if err == nil {
				l.head = head
			}
			l.broken = err
		}
		*b.err = l.broken
		close(b.done)
	}
	l.writing = false
	l.idle.Broadcast()
}

// write signs a batch and stores it.
func (l *Log) write(b batch) (SignedHead, error) {
	ctx, cancel := context.WithTimeout(context.Background(), StoreTimeout)
	defer cancel()
	head := b.head.sign(l.key)
	text := append(b.text, head.String()+"\n"...)
	if err := l.store.Append(ctx, b.head.First, b.count, text); err != nil {
		return head, fmt.Errorf("%w: %w", ErrBroken, err)
	}
	return head, nil
}

// Err is nil while the log can be written.
func (l *Log) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.broken
}

// Head is the end of what is on the disk.
func (l *Log) Head() SignedHead {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.head
}

// Close waits for what is being written. The store is its opener's to close.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.writing {
		l.idle.Wait()
	}
	if !errors.Is(l.broken, ErrClosed) {
		l.broken = ErrClosed
	}
	return nil
}
