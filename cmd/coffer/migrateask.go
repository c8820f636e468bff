package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/coffer-fs/coffer/config"
	"github.com/coffer-fs/coffer/control"
	"github.com/coffer-fs/coffer/migrate"
)

// watchPoll is how often a migration under way is looked at.
const watchPoll = 200 * time.Millisecond

// askMount has whoever has the volume open migrate it, and watches.
func (f *migrateFlags) askMount(c *cobra.Command, client *control.Client, volume string) error {
	to, _, err := config.Load(f.to)
	if err != nil {
		return &failure{exitConfig, err, classify(err).hint}
	}
	path, err := filepath.Abs(f.to)
	if err != nil {
		return err
	}
	in := migrateRequest{Path: path, Hash: hashText(to), Rewrap: f.rewrap, Resume: f.resume, Rate: f.rateMiB << 20}
	if err := client.Call(c.Context(), pathMigrateStart, in, &empty{}); err != nil {
		return fromControl(volume, err)
	}
	return f.watch(c, client, volume)
}

// watch shows the progress of a migration until it ends.
func (f *migrateFlags) watch(c *cobra.Command, client *control.Client, volume string) error {
	e := &events{w: c.OutOrStdout()}
	bar := newMigrationBar(c.ErrOrStderr())
	defer bar.finish()
	for {
		var st migrateState
		if err := client.Call(c.Context(), pathMigrateState, empty{}, &st); err != nil {
			return errGoesOn(volume, fromControl(volume, err))
		}
		if !st.Running {
			bar.finish()
			return f.ended(c.OutOrStdout(), volume, st)
		}
		if f.asJSON {
			e.progress(st)
		} else {
			bar.migration(st)
		}
		select {
		case <-time.After(watchPoll):
		case <-c.Context().Done():
			return errGoesOn(volume, c.Context().Err())
		}
	}
}

// ended says how a migration ended.
func (f *migrateFlags) ended(w io.Writer, volume string, st migrateState) error {
	if st.Failure != nil {
		return fromControl(volume, st.Failure)
	}
	return f.print(w, migrateResult{Event: "done", Found: st.Found, Rewrap: st.Rewrap, Bytes: st.Bytes, Seconds: st.Seconds, CalledOff: st.CalledOff})
}

// steers reports whether it is about a migration under way. With --to, to call one off or
// to have it go on may be about one that was cut off.
func (f *migrateFlags) steers() bool {
	return f.pause || f.status || f.to == "" && (f.resume || f.cancel || f.rateMiB > 0)
}

// steer looks at the migration under way, or changes its course.
func (f *migrateFlags) steer(c *cobra.Command, volume string) error {
	client, err := control.Dial(c.Context(), volume)
	if err != nil && f.status {
		return f.printIdle(c, volume)
	}
	if err != nil {
		return volumeError(volume, errNoMigration)
	}
	defer client.Close()
	return f.steerVia(c, client, volume)
}

func (f *migrateFlags) steerVia(c *cobra.Command, client *control.Client, volume string) (err error) {
	var st migrateState
	if f.status {
		err = client.Call(c.Context(), pathMigrateState, empty{}, &st)
	} else {
		err = client.Call(c.Context(), pathMigrateSteer, f.steerRequest(), &st)
	}
	switch {
	case err != nil:
		return fromControl(volume, err)
	case f.cancel:
		return f.watch(c, client, volume)
	case f.status && !st.Running && st.Found == "":
		return f.printIdle(c, volume)
	case f.asJSON:
		return printLine(c.OutOrStdout(), st)
	}
	return st.print(c.OutOrStdout())
}

func (f *migrateFlags) steerRequest() steerRequest {
	in := steerRequest{Pause: f.pause, Resume: f.resume, CallOff: f.cancel}
	if f.rateMiB > 0 {
		rate := f.rateMiB << 20
		in.Rate = &rate
	}
	return in
}

// printIdle says what the header of a volume tells of a migration that nobody is at.
func (f *migrateFlags) printIdle(c *cobra.Command, volume string) error {
	i, err := info(c, f.hostFlags, volume)
	if err != nil {
		return volumeError(volume, err)
	}
	st := migrateState{Found: migrate.Finished.String()}
	text := "no migration is under way"
	if i.Migrating {
		st.Found, text = migrate.Begun.String(), "no migration is under way; one was begun and not finished: run coffer migrate again"
	}
	if f.asJSON {
		return printLine(c.OutOrStdout(), st)
	}
	_, err = fmt.Fprintln(c.OutOrStdout(), text)
	return err
}

func (st migrateState) print(w io.Writer) error {
	p := &printer{w: w}
	p.line("migration  %s", st.text())
	if st.Total > 0 {
		p.line("sealed     %s of %s, %.1f%%", bytesText(st.Done), bytesText(st.Total), 100*float64(st.Done)/float64(st.Total))
	}
	if st.Running && !st.Paused {
		p.line("pace       %s", st.paceText())
	}
	if st.Rate > 0 {
		p.line("limit      %s/s", bytesText(st.Rate))
	}
	return p.err
}

// paceText is how fast it is, and how long the rest takes.
func (st migrateState) paceText() string {
	switch {
	case st.Paused:
		return "paused"
	case st.SecondsLeft > 0:
		return fmt.Sprintf("%s/s, %v left", bytesText(st.BytesPerSecond), time.Duration(st.SecondsLeft*float64(time.Second)).Round(time.Second))
	}
	return bytesText(st.BytesPerSecond) + "/s"
}

func (st migrateState) text() string {
	switch {
	case st.Failure != nil:
		return "failed: " + st.Failure.Message
	case !st.Running && st.CalledOff:
		return "was called off"
	case !st.Running:
		return "has ended"
	case st.Paused:
		return "paused"
	case st.CalledOff:
		return "called off: " + string(st.Phase)
	}
	return string(st.Phase)
}

// eventEvery is the least time between two events of progress.
const eventEvery = time.Second

// events prints progress for programs.
type events struct {
	w    io.Writer
	last time.Time
}

// progress prints an event, unless there was one just now.
func (e *events) progress(st migrateState) {
	if time.Since(e.last) < eventEvery {
		return
	}
	e.last = time.Now()
	_ = printLine(e.w, struct { // who no longer listens is no reason to stop
		Event string `json:"event"`
		migrateState
	}{"progress", st})
}

// printLine prints one value on a line of its own.
func printLine(w io.Writer, v any) error { return json.NewEncoder(w).Encode(v) }

// handler answers for a migration that this process runs itself.
func (m *migration) handler(volume string) http.Handler {
	mux := http.NewServeMux()
	m.handle(mux, tellFor(volume))
	return mux
}

// wait waits for the end of the migration.
func (m *migration) wait() (migrate.Summary, error) {
	m.task.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.sum, m.task.State().Err
}
