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
	bar   *progressbar.ProgressBar // nil if there is no terminal
	begun time.Time
}

// newBar makes a bar for so many bytes; 0 if that is not known.
func newBar(w io.Writer, what string, total int64) *bar {
	b := &bar{begun: time.Now()}
	if f, ok := w.(*os.File); !ok || !term.IsTerminal(int(f.Fd())) {
		return b
	}
	if total == 0 {
		total = -1
	}
	b.bar = progressbar.NewOptions64(total, progressbar.OptionSetWriter(w), progressbar.OptionSetDescription(what),
		progressbar.OptionShowBytes(true), progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionClearOnFinish(), progressbar.OptionSetRenderBlankState(false))
	return b
}

// Write counts what passes by.
func (b *bar) Write(p []byte) (int, error) {
	b.add(int64(len(p)))
	return len(p), nil
}

func (b *bar) add(n int64) {
	if b.bar != nil && time.Since(b.begun) > barAfter {
		_ = b.bar.Add64(n) // a terminal that is gone is no reason to stop
	}
}

// set says how far it has come, of how much.
func (b *bar) set(done, total int64) {
	if b.bar == nil || time.Since(b.begun) < barAfter {
		return
	}
	b.bar.ChangeMax64(total)
	_ = b.bar.Set64(done) // as above
}

func (b *bar) finish() {
	if b.bar != nil {
		_ = b.bar.Clear() // as above
	}
}
