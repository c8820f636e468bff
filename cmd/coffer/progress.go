package main

import (
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// barAfter is how long something must take before it shows its progress.
const barAfter = time.Second

// bar shows progress on a terminal, and nothing anywhere else.
type bar struct {
	bar         *progressbar.ProgressBar // nil if there is no terminal
	begun       time.Time
	shown       bool
	done, total int64
}

// noSpinner has a bar of unknown length turn with what is reported, and not by a
// goroutine of its own: that one may still draw while the bar is cleared.
var noSpinner = progressbar.OptionSetSpinnerChangeInterval(0)

// newBar makes a bar for so many bytes; 0 if that is not known.
func newBar(w io.Writer, what string, total int64) *bar {
	if total == 0 {
		total = -1
	}
	b := &bar{begun: time.Now(), total: total}
	if f, ok := w.(*os.File); !ok || !term.IsTerminal(int(f.Fd())) {
		return b
	}
	b.bar = progressbar.NewOptions64(total, progressbar.OptionSetWriter(w), progressbar.OptionSetDescription(what),
		progressbar.OptionShowBytes(true), progressbar.OptionThrottle(100*time.Millisecond), noSpinner,
		progressbar.OptionClearOnFinish(), progressbar.OptionSetRenderBlankState(false))
	b.bar.StartWithoutRender() // now, and not when it is shown first
	return b
}

// newMigrationBar makes a bar that shows what a migration says of its own pace: it may have
// been under way before, slowed down, or held.
func newMigrationBar(w io.Writer) *bar {
	b := newBar(w, "migrate", 0)
	if b.bar != nil {
		b.bar = progressbar.NewOptions64(-1, progressbar.OptionSetWriter(w), progressbar.OptionThrottle(100*time.Millisecond), noSpinner,
			progressbar.OptionSetElapsedTime(false), progressbar.OptionSetPredictTime(false),
			progressbar.OptionClearOnFinish(), progressbar.OptionSetRenderBlankState(false))
	}
	return b
}

// Write counts what passes by.
func (b *bar) Write(p []byte) (int, error) {
	b.set(b.done+int64(len(p)), b.total)
	return len(p), nil
}

// set says how far it has come, of how much.
func (b *bar) set(done, total int64) {
	b.done, b.total = done, total
	if b.bar == nil || time.Since(b.begun) < barAfter {
		return
	}
	b.shown = true
	b.bar.ChangeMax64(total)
	_ = b.bar.Set64(done) // a terminal that is gone is no reason to stop
}

// migration shows how one stands.
func (b *bar) migration(st migrateState) {
	if b.bar != nil {
		b.bar.Describe("migrate, " + st.paceText())
	}
	b.set(st.Done, st.Total)
}

func (b *bar) finish() {
	if b.shown {
		_ = b.bar.Clear() // as above
	}
}
