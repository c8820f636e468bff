package migrate_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/coffer-fs/coffer/migrate"
	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/storetest"
)

// live opens a volume and returns what there is to migrate it with, and a way back.
func live(t *testing.T) (*store.Store, migrate.Options) {
	t.Helper()
	s := storetest.Open(t, fill(t))
	t.Cleanup(func() { _ = s.Close() })
	return s, migrate.Options{
		New: storetest.Secret("new"), Control: &migrate.Control{}, Back: &migrate.Back{Key: storetest.Secret("test")},
	}
}

// run migrates in the background.
func run(s *store.Store, o migrate.Options) (wait func() (migrate.Summary, error)) {
	type result struct {
		sum migrate.Summary
		err error
	}
	done := make(chan result, 1)
	go func() {
		sum, err := migrate.Live(context.Background(), s, o)
		done <- result{sum, err}
	}()
	return func() (migrate.Summary, error) {
		r := <-done
		return r.sum, r.err
	}
}

func TestPause(t *testing.T) {
	s, o := live(t)
	paused := make(chan struct{})
	times := 0
	o.Progress = func(migrate.Progress) {
		if times++; times == 1 {
			o.Control.Pause()
			close(paused)
		}
	}
	wait := run(s, o)
	<-paused
	if st := o.Control.State(); !st.Paused || st.Phase != migrate.Sealing || st.BytesPerSecond != 0 || st.Left != 0 {
		t.Errorf("paused: %+v", st)
	}
	if st := s.KeyState(); st.Older != 1 || st.Remaining == 0 {
		t.Errorf("paused: %+v", st)
	}
	if err := s.Checkpoint(context.Background()); err != nil {
		t.Errorf("it can't be used meanwhile: %v", err)
	}
	o.Control.Resume()
	if sum, err := wait(); err != nil || sum.CalledOff {
		t.Errorf("%+v, %v", sum, err)
	}
	if st := o.Control.State(); st.Phase != migrate.Ended || st.Paused || st.Progress.DoneBytes != st.Progress.TotalBytes {
		t.Errorf("at the end: %+v", st)
	}
}

// A migration that is paused ends with its context, and goes on another time.
func TestPauseAndStop(t *testing.T) {
	s, o := live(t)
	ctx, stop := context.WithCancel(context.Background())
	o.Control.Pause()
	o.Progress = func(migrate.Progress) { t.Error("it went on") }
	ended := make(chan error)
	go func() {
		_, err := migrate.Live(ctx, s, o)
		ended <- err
	}()
	stop()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("stopped: %v", err)
	}
	o.Control.Resume()
	o.Progress = nil
	if sum, err := migrate.Live(context.Background(), s, o); err != nil || sum.Found == migrate.Finished {
		t.Errorf("%+v, %v", sum, err)
	}
}

// Called off in the middle, the volume is back under its key, and has one.
func TestCallOff(t *testing.T) {
	s, o := live(t)
	times := 0
	o.Progress = func(p migrate.Progress) {
		if times++; times == 2 {
			if err := o.Control.CallOff(); err != nil {
				t.Error(err)
			}
			if st := o.Control.State(); !st.CalledOff {
				t.Errorf("called off: %+v", st)
			}
		}
	}
	sum, err := migrate.Live(context.Background(), s, o)
	if err != nil || !sum.CalledOff || sum.Bytes == 0 {
		t.Fatalf("%+v, %v", sum, err)
	}
	if st := s.KeyState(); st.Older != 0 || st.Unused != 0 || st.Generation != 3 || !s.OpensWith(storetest.Secret("test")) {
		t.Errorf("at the end: %+v", st)
	}
	if err := o.Control.CallOff(); err != nil {
		t.Errorf("once more: %v", err)
	}
	o.Control = &migrate.Control{}
	if sum, err := migrate.Live(context.Background(), s, o); err != nil || sum.CalledOff || s.KeyState().Generation != 4 {
		t.Errorf("another try: %+v, %v", sum, err)
	}
}

func TestCallOffBefore(t *testing.T) {
	s, o := live(t)
	if err := o.Control.CallOff(); err != nil {
		t.Fatal(err)
	}
	sum, err := migrate.Live(context.Background(), s, o)
	if err != nil || !sum.CalledOff || sum.Bytes != 0 || s.KeyState().Generation != 1 {
		t.Errorf("%+v, %v", sum, err)
	}
}

func TestCallOffRefused(t *testing.T) {
	s, o := live(t)
	back := o.Back
	o.Back = nil
	o.Progress = func(migrate.Progress) {
		if err := o.Control.CallOff(); !errors.Is(err, migrate.ErrNoWayBack) {
			t.Errorf("without a way back: %v", err)
		}
	}
	if _, err := migrate.Live(context.Background(), s, o); err != nil {
		t.Fatal(err)
	}
	o.New, o.Back, o.Progress = storetest.Secret("third"), back, nil
	if _, err := migrate.Live(context.Background(), s, o); err != nil {
		t.Fatal(err)
	}
	if err := o.Control.CallOff(); !errors.Is(err, migrate.ErrLastStep) {
		t.Errorf("when it is over: %v", err)
	}
}

// What was called off and then cut off goes on with the roles of the keys exchanged.
func TestCallOffCutOff(t *testing.T) {
	ctx, stop := context.WithCancel(context.Background())
	v := fill(t)
	o := options(v)
	o.Control, o.Back = &migrate.Control{}, &migrate.Back{Key: storetest.Secret("test")}
	o.Progress = func(migrate.Progress) {
		if o.Control.State().CalledOff {
			stop()
		} else if err := o.Control.CallOff(); err != nil {
			t.Error(err)
		}
	}
	if sum, err := migrate.Run(ctx, o); !errors.Is(err, context.Canceled) || !sum.CalledOff {
		t.Fatalf("%+v, %v", sum, err)
	}
	if err := check(v, "test"); err != nil {
		t.Fatal(err)
	}
	if _, err := migrate.Run(context.Background(), options(v)); !errors.Is(err, store.ErrUnfinished) {
		t.Errorf("on again after all: %v", err)
	}
	back := migrate.Options{Host: v, Old: storetest.Unlocker("new"), New: storetest.Secret("test")}
	if sum, err := migrate.Run(context.Background(), back); err != nil || sum.Found != migrate.Begun {
		t.Errorf("%+v, %v", sum, err)
	}
	if err := check(v, "test"); err != nil {
		t.Error(err)
	}
	if err := check(v, "new"); !errors.Is(err, store.ErrWrongKey) {
		t.Errorf("with the key it was going to: %v", err)
	}
}

// A rate holds a migration up, and another rate lets it go on.
func TestRate(t *testing.T) {
	s, o := live(t)
	o.Control.SetRate(1) // a byte a second: years
	times := 0
	waiting := make(chan struct{})
	o.Progress = func(migrate.Progress) {
		if times++; times == 1 {
			close(waiting)
		}
	}
	wait := run(s, o)
	<-waiting
	if st := o.Control.State(); st.Rate != 1 {
		t.Errorf("%+v", st)
	}
	o.Control.SetRate(0)
	if _, err := wait(); err != nil {
		t.Fatal(err)
	}
	if st := o.Control.State(); st.Rate != 0 {
		t.Errorf("%+v", st)
	}
}

func TestMeter(t *testing.T) {
	m := migrate.NewMeter()
	at := time.Unix(1000, 0)
	if m.PerSecond(at) != 0 {
		t.Error("something passes where nothing does")
	}
	for range 40 { // 1000 bytes in each half of a second
		m.Add(at, 1000)
		at = at.Add(time.Second / 2)
	}
	if got := m.PerSecond(at); got < 1800 || got > 2200 {
		t.Errorf("%v bytes a second, want about 2000", got)
	}
	if got := m.PerSecond(at.Add(time.Minute)); got != 0 {
		t.Errorf("%v bytes a second a minute later", got)
	}
	if got := m.PerSecond(at.Add(1000 * time.Hour)); got != 0 {
		t.Errorf("%v bytes a second much later", got)
	}
}
