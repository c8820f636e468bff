package control

import (
	"context"
	"errors"
	"sync"
	"time"
)

var (
	// ErrBusy: a task is under way.
	ErrBusy = errors.New("it is under way already")
	// ErrEnded: no task is begun any more.
	ErrEnded = errors.New("the process that is asked ends")
)

// Task is work that goes on when whoever asked for it is gone: he asks again, how far
// it is. There is one at a time. The zero value is ready to use.
type Task struct {
	mu    sync.Mutex // guards all below
	stop  context.CancelFunc
	done  chan struct{} // closed when it has ended; nil if none ever began
	state TaskState
	ended bool
}

// TaskState is how a task stands.
type TaskState struct {
	Running bool
	Began   time.Time // zero if none ever did
	Ended   time.Time
	Err     error // of one that has ended
}

// Start begins a task. ErrBusy, ErrEnded.
func (t *Task) Start(do func(context.Context) error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended {
		return ErrEnded
	}
	if t.state.Running {
		return ErrBusy
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	t.stop, t.done, t.state = stop, done, TaskState{Running: true, Began: time.Now()}
	go func() {
		defer close(done)
		defer stop()
		err := do(ctx)
		t.mu.Lock()
		defer t.mu.Unlock()
		t.state.Running, t.state.Ended, t.state.Err = false, time.Now(), err
	}()
	return nil
}

// State says how the task stands that began last.
func (t *Task) State() TaskState {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.state
}

// Cancel has the task end. It is no error if there is none.
func (t *Task) Cancel() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stop != nil {
		t.stop()
	}
}

// Done is closed when the task that began last has ended, or if none ever began.
func (t *Task) Done() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.done == nil {
		return none
	}
	return t.done
}

// none is Done of no task.
var none = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// Wait waits until the task has ended, if there is one.
func (t *Task) Wait() { <-t.Done() }

// End is Stop for good: no other task is begun.
func (t *Task) End() {
	t.mu.Lock()
	t.ended = true
	t.mu.Unlock()
	t.Stop()
}

// Stop has the task end, and waits until it has.
func (t *Task) Stop() {
	t.Cancel()
	t.Wait()
}
