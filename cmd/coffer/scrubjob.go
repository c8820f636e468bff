package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/coffer-fs/coffer"
	"github.com/coffer-fs/coffer/control"
	"github.com/coffer-fs/coffer/store"
)

// A mounted volume is scrubbed by the process that has it mounted, in its own
// background: whoever asked for it may go away, and ask later how far it is.

// Paths of it.
const (
	pathScrubStart  = "/v1/scrub/start"
	pathScrubStatus = "/v1/scrub/status"
	pathScrubStop   = "/v1/scrub/stop"
)

type scrubRequest struct {
	BytesPerSecond int64 `json:"bytesPerSecond"` // as in store.ScrubOptions
	Restart        bool  `json:"restart"`
}

type scrubStatusRequest struct {
	Wait bool `json:"wait"` // for a while, if it is running
}

// States of a scrub.
const (
	scrubNone    = "none" // none since the volume was mounted
	scrubRunning = "running"
	scrubStopped = "stopped" // it goes on where it was
	scrubDone    = "done"    // to the end, or it failed
)

// scrubStatus is how far the scrub of a mounted volume is, or what it found.
type scrubStatus struct {
	State string `json:"state"`
	scrubResult
	Total   int64            `json:"totalBytes"`
	Failure *control.Failure `json:"failure,omitempty"`
}

// scrubWait is how long a status that is waited for may take.
const scrubWait = time.Second

// scrubJob runs the scrubs of a mounted volume, one at a time.
type scrubJob struct {
	v    *coffer.Volume
	tell func(error) *control.Failure

	mu     sync.Mutex // guards all below
	status scrubStatus
	stop   context.CancelFunc // nil if none is running
	done   chan struct{}      // closed when the last one ended
	closed bool
}

func newScrubJob(v *coffer.Volume, tell func(error) *control.Failure) *scrubJob {
	j := &scrubJob{v: v, tell: tell, done: make(chan struct{})}
	j.status.State = scrubNone
	close(j.done)
	return j
}

// start begins a scrub, or finds the one that is running.
func (j *scrubJob) start(_ context.Context, in scrubRequest) (scrubStatus, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return j.status, store.ErrClosed
	}
	if j.stop != nil {
		return j.status, nil
	}
	ctx, stop := context.WithCancel(context.Background())
	j.stop, j.done, j.status = stop, make(chan struct{}), scrubStatus{State: scrubRunning}
	go j.run(ctx, in, j.done)
	return j.status, nil
}

func (j *scrubJob) run(ctx context.Context, in scrubRequest, done chan struct{}) {
	defer close(done)
	rep, err := j.v.Store().Scrub(ctx, store.ScrubOptions{
		BytesPerSecond: in.BytesPerSecond, Restart: in.Restart,
		Progress: func(r store.ScrubReport) {
			j.mu.Lock()
			defer j.mu.Unlock()
			j.status.scrubResult, j.status.Total = newScrubResult(r), r.TotalBytes
		},
	})
	last := scrubStatus{State: scrubDone, scrubResult: newScrubResult(rep), Total: rep.TotalBytes}
	last.hitFiles = findHits(ctx, j.v, rep.Damage)
	if ctx.Err() != nil {
		last.State = scrubStopped
	} else if err != nil {
		last.Failure = j.tell(err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.stop()
	j.status, j.stop = last, nil
}

// ask returns the status; if it is waited for, when the scrub ends or a while later.
func (j *scrubJob) ask(ctx context.Context, in scrubStatusRequest) (scrubStatus, error) {
	j.mu.Lock()
	done := j.done
	j.mu.Unlock()
	if in.Wait {
		t := time.NewTimer(scrubWait)
		defer t.Stop()
		select {
		case <-done:
		case <-t.C:
		case <-ctx.Done():
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.status, nil
}

// cancel stops the scrub that is running, and returns when it has.
func (j *scrubJob) cancel(ctx context.Context, _ empty) (scrubStatus, error) {
	j.mu.Lock()
	if j.stop != nil {
		j.stop()
	}
	done := j.done
	j.mu.Unlock()
	select {
	case <-done:
	case <-ctx.Done():
		return scrubStatus{}, ctx.Err()
	}
	return j.ask(ctx, scrubStatusRequest{})
}

// close stops it for good: the volume is being closed.
func (j *scrubJob) close() {
	j.mu.Lock()
	j.closed = true
	j.mu.Unlock()
	_, _ = j.cancel(context.Background(), empty{}) // it waits, and has nothing to fail with
}

// scrubMounted has whoever has the volume mounted scrub it, and waits for it unless
// that is not wanted. It goes on if who waits is stopped.
func scrubMounted(c *cobra.Command, client *control.Client, volume string, f scrubFlags) (s scrubStatus, err error) {
	call := func(path string, in any) error {
		err := fromControl(volume, client.Call(c.Context(), path, in, &s))
		if err != nil && c.Context().Err() != nil {
			return errNotWaited
		}
		return err
	}
	switch {
	case f.stop:
		return s, call(pathScrubStop, empty{})
	case f.status:
		return s, call(pathScrubStatus, scrubStatusRequest{})
	}
	if err = call(pathScrubStart, f.request()); err != nil || f.background {
		return s, err
	}
	bar := newBar(c.ErrOrStderr(), "scrub", 0)
	defer bar.finish()
	for s.State == scrubRunning && err == nil {
		bar.set(s.Bytes, s.Total)
		err = call(pathScrubStatus, scrubStatusRequest{Wait: true})
	}
	return s, err
}

var errNotWaited = &failure{
	exitInterrupted, errors.New("stopped waiting: whoever has the volume mounted goes on with the scrub"),
	"the same with --status shows how far it is, with --stop it is stopped",
}

// err is the failure of a scrub that another process ran.
func (s scrubStatus) err(volume string) error {
	switch {
	case s.Failure != nil:
		return fromControl(volume, s.Failure)
	case s.State == scrubStopped:
		return &failure{exitInterrupted, errors.New("the scrub was stopped"), "run it again: it goes on where it was"}
	}
	return nil
}

func (s scrubStatus) print(p *printer) error {
	switch s.State {
	case scrubNone:
		p.line("no scrub since the volume was mounted")
		return p.err
	case scrubRunning:
		p.line("scrubbing: %s of about %s, %d damaged so far", bytesText(s.Bytes), bytesText(s.Total), s.Damaged)
		return p.err
	}
	return s.scrubResult.print(p.w)
}
