package control_test

import (
	"context"
	"errors"
	"testing"

	"github.com/coffer-fs/coffer/control"
)

// A task goes on by itself, is the only one, and can be ended.
func TestTask(t *testing.T) {
	var task control.Task
	task.Stop()
	if st := task.State(); st.Running || !st.Began.IsZero() {
		t.Errorf("before any: %+v", st)
	}
	begun := make(chan struct{})
	wait := func(ctx context.Context) error {
		close(begun)
		<-ctx.Done()
		return ctx.Err()
	}
	if err := task.Start(wait); err != nil {
		t.Fatal(err)
	}
	<-begun
	if err := task.Start(wait); !errors.Is(err, control.ErrBusy) {
		t.Errorf("a second one: %v", err)
	}
	if st := task.State(); !st.Running || st.Began.IsZero() || st.Err != nil {
		t.Errorf("under way: %+v", st)
	}
	task.Stop()
	if st := task.State(); st.Running || st.Ended.IsZero() || !errors.Is(st.Err, context.Canceled) {
		t.Errorf("ended: %+v", st)
	}
	if err := task.Start(func(context.Context) error { return nil }); err != nil {
		t.Errorf("another one: %v", err)
	}
	task.Stop()
	if st := task.State(); st.Running || st.Err != nil {
		t.Errorf("the other one: %+v", st)
	}
}
