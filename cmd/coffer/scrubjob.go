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
	task control.Task

	mu     sync.Mutex // guards status
	status scrubStatus
}

func newScrubJob(v *coffer.Volume, tell func(error) *control.Failure) *scrubJob {
	return &scrubJob{v: v, tell: tell, status: scrubStatus{State: scrubNone}}
}

func (j *scrubJob) set(s scrubStatus) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.status = s
}

func (j *scrubJob) now() scrubStatus {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.status
}

// start begins a scrub, or finds the one that is running.
func (j *scrubJob) start(_ context.Context, in scrubRequest) (scrubStatus, error) {
	begun := make(chan struct{})
	err := j.task.Start(func(ctx context.Context) error {
		j.set(scrubStatus{State: scrubRunning})
		close(begun)
		j.run(ctx, in)
		return nil
	})
	switch {
	case err == nil:
		<-begun
	case !errors.Is(err, control.ErrBusy):
		return j.now(), err
	}
	return j.now(), nil
}

func (j *scrubJob) run(ctx context.Context, in scrubRequest) {
	rep, err := j.v.Store().Scrub(ctx, store.ScrubOptions{
		BytesPerSecond: in.BytesPerSecond, Restart: in.Restart,
		Progress: func(r store.ScrubReport) {
			j.set(scrubStatus{State: scrubRunning, scrubResult: newScrubResult(r), Total: r.TotalBytes})
		},
	})
	last := scrubStatus{State: scrubDone, scrubResult: newScrubResult(rep), Total: rep.TotalBytes}
	last.hitFiles = findHits(ctx, j.v, rep.Damage)
	if ctx.Err() != nil {
		last.State = scrubStopped
	} else if err != nil {
		last.Failure = j.tell(err)
	}
	j.set(last)
}

// ask returns the status; if it is waited for, when the scrub ends or a while later.
func (j *scrubJob) ask(ctx context.Context, in scrubStatusRequest) (scrubStatus, error) {
	if in.Wait {
		t := time.NewTimer(scrubWait)
		defer t.Stop()
		select {
		case <-j.task.Done():
		case <-t.C:
		case <-ctx.Done():
		}
	}
	return j.now(), nil
}

// cancel stops the scrub that is running, and returns when it has.
func (j *scrubJob) cancel(ctx context.Context, _ empty) (scrubStatus, error) {
	j.task.Cancel()
	select {
	case <-j.task.Done():
		return j.now(), nil
	case <-ctx.Done():
		return scrubStatus{}, ctx.Err()
	}
}

// close stops it for good: the volume is being closed.
func (j *scrubJob) close() { j.task.End() }

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
