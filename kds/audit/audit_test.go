package audit_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coffer-fs/coffer/kds/audit"
	"github.com/coffer-fs/coffer/key"
)

func clock() time.Time { return time.Unix(1_760_000_000, 0) }

func open(t *testing.T, path string) *audit.Log {
	t.Helper()
	l, err := audit.Open(path, clock)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestAppendAndReopen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	l := open(t, path)
	for i := range 3 {
		e := audit.Entry{Event: audit.Released, Asker: &audit.Asker{CodeHash: "AA"}, Key: &audit.Key{Name: fmt.Sprintf("<&%d>", i)}}
		if err := l.Append(e); err != nil {
			t.Fatal(err)
		}
	}
	want := l.State()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.Append(audit.Entry{Event: audit.Released}); !errors.Is(err, audit.ErrClosed) {
		t.Errorf("append after close: %v", err)
	}
	l = open(t, path)
	if err := l.Append(audit.Entry{Event: audit.Refused, Reason: "no"}); err != nil {
		t.Fatal(err)
	}
	var events []string
	s, err := audit.Verify(bytes.NewReader(read(t, path)), func(e audit.Entry) error {
		events = append(events, fmt.Sprintf("%d %s", e.Sequence, e.Event))
		return nil
	})
	if err != nil || s.Lines != 6 || s.Torn != 0 || want.Lines != 4 {
		t.Errorf("%+v, %v", s, err)
	}
	if got := strings.Join(events, ", "); got != "1 started, 2 released, 3 released, 4 released, 5 started, 6 refused" {
		t.Error(got)
	}
	if s != l.State() {
		t.Errorf("state %+v, file %+v", l.State(), s)
	}
}

// Every changed byte, and every removed, doubled or exchanged line, is found,
// and the log does not open.
func TestDamage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	l := open(t, path)
	for range 3 {
		if err := l.Append(audit.Entry{Event: audit.Released}); err != nil {
			t.Fatal(err)
		}
	}
	whole := read(t, path)
	found := func(what string, b []byte) {
		t.Helper()
		if _, err := audit.Verify(bytes.NewReader(b), nil); !errors.Is(err, audit.ErrDamaged) || !strings.Contains(err.Error(), "line ") {
			t.Errorf("%s: %v", what, err)
		}
	}
	for i := range len(whole) - 1 { // without the last line's end it is torn, not damaged
		b := bytes.Clone(whole)
		b[i] ^= 1
		found(fmt.Sprintf("byte %d", i), b)
	}
	lines := bytes.SplitAfter(whole, []byte("\n"))
	found("removed", bytes.Join([][]byte{lines[0], lines[2], lines[3]}, nil))
	found("first removed", bytes.Join(lines[1:], nil))
	found("doubled", bytes.Join([][]byte{lines[0], lines[1], lines[1], lines[2]}, nil))
	found("exchanged", bytes.Join([][]byte{lines[0], lines[2], lines[1], lines[3]}, nil))
	found("empty line", append([]byte("\n"), whole...))
	found("spaces", append([]byte(" "), whole...))
	found("endless line", bytes.Repeat([]byte("a"), audit.MaxLineBytes+1))

	broken := filepath.Join(t.TempDir(), "broken.log")
	if err := os.WriteFile(broken, bytes.Join(lines[1:], nil), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := audit.Open(broken, clock); !errors.Is(err, audit.ErrDamaged) {
		t.Errorf("open: %v", err)
	}
}

// The chain is not signed: who can compute it still cannot leave a number out.
func TestSequence(t *testing.T) {
	line := func(n int) []byte {
		entry := fmt.Sprintf(`{"sequence":%d,"time":"2025-10-09T08:53:20Z","event":"released"}`, n)
		chain := sha256.Sum256(key.Info("coffer/kds/v1/audit", make([]byte, 32), []byte(entry)))
		return fmt.Appendf(nil, "{\"entry\":%s,\"chain\":\"%x\"}\n", entry, chain)
	}
	if _, err := audit.Verify(bytes.NewReader(line(1)), nil); err != nil {
		t.Error(err)
	}
	for _, n := range []int{0, 2} {
		if _, err := audit.Verify(bytes.NewReader(line(n)), nil); !errors.Is(err, audit.ErrDamaged) || !strings.Contains(err.Error(), fmt.Sprintf("it says it is line %d", n)) {
			t.Errorf("a first line with number %d: %v", n, err)
		}
	}
}

// A line that a crash cut is removed, and the log says so.
func TestTorn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	l := open(t, path)
	if err := l.Append(audit.Entry{Event: audit.Released}); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	whole := read(t, path)
	second := bytes.IndexByte(whole, '\n') + 1
	for cut := second + 1; cut < len(whole); cut++ {
		if err := os.WriteFile(path, whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		l, err := audit.Open(path, clock)
		if err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		var last audit.Entry
		s, err := audit.Verify(bytes.NewReader(read(t, path)), func(e audit.Entry) error { last = e; return nil })
		if err != nil || s.Lines != 2 || !strings.Contains(last.Reason, fmt.Sprintf("cut off %d bytes", cut-second)) {
			t.Fatalf("cut at %d: %+v, %+v, %v", cut, s, last, err)
		}
	}
}

func TestInUse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	open(t, path)
	if _, err := audit.Open(path, clock); !errors.Is(err, audit.ErrInUse) {
		t.Errorf("got %v", err)
	}
}

func TestTooLong(t *testing.T) {
	l := open(t, filepath.Join(t.TempDir(), "audit.log"))
	if err := l.Append(audit.Entry{Event: audit.Refused, Reason: strings.Repeat("x", audit.MaxLineBytes)}); !errors.Is(err, audit.ErrTooLong) {
		t.Errorf("got %v", err)
	}
	if err := l.Append(audit.Entry{Event: audit.Refused}); err != nil {
		t.Errorf("the log is broken after an entry that was too long: %v", err)
	}
}

// failing is a file whose n-th write or sync fails, with or without effect.
type failing struct {
	bytes.Buffer
	mu      sync.Mutex
	calls   int
	failAt  int
	partial bool
	syncs   int
}

var errDisk = errors.New("disk on fire")

func (f *failing) fail() bool { f.calls++; return f.calls == f.failAt }

func (f *failing) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail() {
		if f.partial {
			n, _ := f.Buffer.Write(p[:len(p)/2])
			return n, errDisk
		}
		return 0, errDisk
	}
	return f.Buffer.Write(p)
}

func (f *failing) Sync() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.syncs++
	if f.fail() {
		return errDisk
	}
	return nil
}
func (f *failing) Read([]byte) (int, error)       { return 0, io.EOF }
func (f *failing) Seek(int64, int) (int64, error) { return 0, nil }
func (f *failing) Truncate(int64) error           { return nil }
func (f *failing) Close() error                   { return nil }

// Whatever call fails, no entry is acknowledged from then on.
func TestFaultIsFinal(t *testing.T) {
	for n := 1; n <= 6; n++ {
		for _, partial := range []bool{false, true} {
			f := &failing{failAt: n, partial: partial}
			l, err := audit.New(f, clock)
			acknowledged := 0
			if err == nil {
				acknowledged++
				for range 4 {
					if err = l.Append(audit.Entry{Event: audit.Released}); err != nil {
						break
					}
					acknowledged++
				}
			}
			if !errors.Is(err, audit.ErrBroken) || !errors.Is(err, errDisk) || acknowledged != (n-1)/2 {
				t.Errorf("call %d fails: %d acknowledged, %v", n, acknowledged, err)
			}
			if l == nil {
				continue
			}
			if err := l.Append(audit.Entry{Event: audit.Released}); !errors.Is(err, audit.ErrBroken) || l.Err() == nil {
				t.Errorf("call %d fails: the log goes on: %v", n, err)
			}
		}
	}
}

// Lines that wait together share a sync, and each is acknowledged once.
func TestGroup(t *testing.T) {
	f := &failing{}
	l, err := audit.New(f, clock)
	if err != nil {
		t.Fatal(err)
	}
	const n = 400
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			if err := l.Append(audit.Entry{Event: audit.Released}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := audit.Verify(bytes.NewReader(f.Bytes()), nil)
	if err != nil || s.Lines != n+1 || f.syncs > n+1 {
		t.Errorf("%+v, %d syncs, %v", s, f.syncs, err)
	}
}

func FuzzVerify(f *testing.F) {
	path := filepath.Join(f.TempDir(), "audit.log")
	l, err := audit.Open(path, clock)
	if err != nil {
		f.Fatal(err)
	}
	if err := l.Close(); err != nil {
		f.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := audit.Verify(bytes.NewReader(b), nil)
		if err == nil && s.Bytes+s.Torn != int64(len(b)) {
			t.Errorf("%+v of %d bytes", s, len(b))
		}
	})
}
