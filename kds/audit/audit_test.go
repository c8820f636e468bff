package audit_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/attest/sim"
	"github.com/coffer-fs/coffer/kds/audit"
	"github.com/coffer-fs/coffer/key"
)

var ctx = context.Background()

func clock() time.Time { return time.Unix(1_760_000_000, 0) }

func signer(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize))
}

func public(n byte) ed25519.PublicKey { return signer(n).Public().(ed25519.PublicKey) }

// store is a host in memory, whose n-th call to append fails, with or without effect.
type store struct {
	mu      sync.Mutex
	batches [][]byte
	lines   uint64
	calls   int
	failAt  int
	partial bool
}

var errDisk = errors.New("disk on fire")

func (s *store) Last(context.Context) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.batches) == 0 {
		return nil, nil
	}
	return s.batches[len(s.batches)-1], nil
}

func (s *store) Append(_ context.Context, first uint64, lines int, b []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if first != s.lines+1 {
		return audit.ErrConflict
	}
	s.calls++
	if s.calls == s.failAt && !s.partial {
		return errDisk
	}
	s.batches, s.lines = append(s.batches, bytes.Clone(b)), s.lines+uint64(lines)
	if s.calls == s.failAt {
		return errDisk
	}
	return nil
}

func (s *store) text() []byte { return bytes.Join(s.batches, nil) }

func open(t *testing.T, s audit.Store, n byte) *audit.Log {
	t.Helper()
	l, err := audit.Open(ctx, s, signer(n), clock)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func add(t *testing.T, l *audit.Log, n int) {
	t.Helper()
	for range n {
		if err := l.Append(audit.Entry{Event: audit.Released}); err != nil {
			t.Fatal(err)
		}
	}
}

func verify(b []byte, o audit.VerifyOptions) (audit.State, error) {
	return audit.Verify(bytes.NewReader(b), o, nil)
}

func TestAppendAndReopen(t *testing.T) {
	s := &store{}
	l := open(t, s, 1)
	for i := range 3 {
		e := audit.Entry{Event: audit.Released, Asker: &audit.Asker{CodeHash: "AA"}, Key: &audit.Key{Name: fmt.Sprintf("<&%d>", i)}}
		if err := l.Append(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.Append(audit.Entry{Event: audit.Released}); !errors.Is(err, audit.ErrClosed) {
		t.Errorf("append after close: %v", err)
	}
	l = open(t, s, 1)
	if err := l.Append(audit.Entry{Event: audit.Refused, Reason: "no"}); err != nil {
		t.Fatal(err)
	}
	var events []string
	got, err := audit.Verify(bytes.NewReader(s.text()), audit.VerifyOptions{Keys: []ed25519.PublicKey{public(1)}}, func(e audit.Entry) error {
		events = append(events, fmt.Sprintf("%d %s%s", e.Sequence, e.Event, e.Reason))
		return nil
	})
	if err != nil || got.First != 1 || got.Lines != 6 || len(got.Keys) != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	if got := strings.Join(events, ", "); got != "1 started, 2 released, 3 released, 4 released, 5 started, 6 refusedno" {
		t.Error(got)
	}
	if h := l.Head(); h.Head != got.Head.Head || h.Head.Last != 6 {
		t.Errorf("head %+v, log %+v", h, got.Head)
	}
}

// K11: every changed byte, and every removed, doubled or exchanged line or batch, is
// found, and where. Who has no key of the node cannot make up for it.
func TestK11_AuditChanged(t *testing.T) {
	s := &store{}
	add(t, open(t, s, 1), 3)
	whole := s.text()
	found := func(what string, b []byte) {
		t.Helper()
		_, err := verify(b, audit.VerifyOptions{Keys: []ed25519.PublicKey{public(1)}})
		if !errors.Is(err, audit.ErrDamaged) && !errors.Is(err, audit.ErrKey) || !strings.Contains(err.Error(), "line") {
			t.Errorf("%s: %v", what, err)
		}
	}
	for i := range whole {
		b := bytes.Clone(whole)
		b[i] ^= 1
		found(fmt.Sprintf("byte %d", i), b)
	}
	for i := 1; i < len(whole); i++ { // between two batches it is a log that ends there
		if !slices.ContainsFunc([]int{1, 2, 3}, func(n int) bool { return i == len(bytes.Join(s.batches[:n], nil)) }) {
			found(fmt.Sprintf("cut at %d", i), whole[:i])
		}
	}
	b := s.batches
	line, head, _ := bytes.Cut(b[1], []byte("\n"))
	line = append(bytes.Clone(line), '\n')
	found("batch removed", bytes.Join([][]byte{b[0], b[2], b[3]}, nil))
	found("batch doubled", bytes.Join([][]byte{b[0], b[1], b[1], b[2]}, nil))
	found("batches exchanged", bytes.Join([][]byte{b[0], b[2], b[1], b[3]}, nil))
	found("line without head", bytes.Join([][]byte{b[0], line, b[2]}, nil))
	found("head without line", bytes.Join([][]byte{b[0], head, b[1]}, nil))
	found("line doubled", bytes.Join([][]byte{b[0], line, b[1]}, nil))
	found("empty line", append([]byte("\n"), whole...))
	found("spaces", append([]byte(" "), whole...))
	found("endless line", bytes.Repeat([]byte("a"), audit.MaxLineBytes+1))
	found("endless batch", bytes.Repeat(line, audit.MaxWaiting+1))

	other := &store{}
	add(t, open(t, other, 2), 3)
	found("another node's", other.text())
	found("another node's batch", bytes.Join([][]byte{b[0], other.batches[1], b[2]}, nil))

	s.batches[len(s.batches)-1][20] ^= 1
	if _, err := audit.Open(ctx, s, signer(1), clock); !errors.Is(err, audit.ErrDamaged) {
		t.Errorf("a damaged last batch: %v", err)
	}
}

// What is behind a line can be kept elsewhere and the rest verified on its own,
// or both together.
func TestParts(t *testing.T) {
	s := &store{}
	add(t, open(t, s, 1), 5)
	old, late := bytes.Join(s.batches[:3], nil), bytes.Join(s.batches[3:], nil)
	alone, err := verify(late, audit.VerifyOptions{})
	if err != nil || alone.First != 4 || alone.Lines != 6 {
		t.Errorf("alone: %+v, %v", alone, err)
	}
	first, err := verify(old, audit.VerifyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if both, err := verify(late, audit.VerifyOptions{After: &first}); err != nil || both.First != 1 || both.Chain != alone.Chain {
		t.Errorf("both: %+v, %v", both, err)
	}
	if _, err := verify(bytes.Join(s.batches[4:], nil), audit.VerifyOptions{After: &first}); !errors.Is(err, audit.ErrDamaged) {
		t.Errorf("a part is missing: %v", err)
	}
}

// K12: a head that was kept elsewhere shows that the end was cut off, also when the
// node went on after it.
func TestK12_AuditCutOff(t *testing.T) {
	s := &store{}
	l := open(t, s, 1)
	add(t, l, 3)
	kept, err := audit.ParseHead([]byte(l.Head().String()))
	if err != nil {
		t.Fatal(err)
	}
	o := audit.VerifyOptions{Kept: &kept}
	if _, err := verify(s.text(), o); err != nil {
		t.Error(err)
	}
	late := bytes.Join(s.batches[len(s.batches)-1:], nil)
	early, err := audit.ParseHead(s.batches[0][bytes.Index(s.batches[0], []byte(`{"head":`)):])
	must(t, err)
	if _, err := verify(late, audit.VerifyOptions{Kept: &early}); !errors.Is(err, audit.ErrCutOff) || !strings.Contains(err.Error(), "after line 1 of the head") {
		t.Errorf("files that begin after the head: %v", err)
	}
	_ = l.Close()
	s.batches, s.lines = s.batches[:2], 2
	if _, err := verify(s.text(), o); !errors.Is(err, audit.ErrCutOff) || !strings.Contains(err.Error(), "ends at line 2") {
		t.Errorf("cut off: %v", err)
	}
	add(t, open(t, s, 1), 4) // the node knows nothing of it
	if _, err := verify(s.text(), o); !errors.Is(err, audit.ErrCutOff) || !strings.Contains(err.Error(), "line 4 was another one") {
		t.Errorf("cut off, and written on: %v", err)
	}
	bad := []byte(kept.String())
	bad[len(bad)-4] ^= 1
	if _, err := audit.ParseHead(bad); !errors.Is(err, audit.ErrDamaged) {
		t.Errorf("a head with another signature: %v", err)
	}
}

// K12: a store that was set back under a running node stops it.
func TestK12_AuditSetBack(t *testing.T) {
	s := &store{}
	l := open(t, s, 1)
	add(t, l, 3)
	s.batches, s.lines = s.batches[:2], 2
	if err := l.Append(audit.Entry{Event: audit.Released}); !errors.Is(err, audit.ErrBroken) || !errors.Is(err, audit.ErrConflict) {
		t.Errorf("got %v", err)
	}
	if l.Err() == nil {
		t.Error("the log goes on")
	}
}

// Another key is told apart in the log itself.
func TestAnotherKey(t *testing.T) {
	s := &store{}
	add(t, open(t, s, 1), 1)
	open(t, s, 2)
	var last audit.Entry
	got, err := audit.Verify(bytes.NewReader(s.text()), audit.VerifyOptions{}, func(e audit.Entry) error { last = e; return nil })
	if err != nil || len(got.Keys) != 2 || !strings.Contains(last.Reason, fmt.Sprintf("signed by key %x", []byte(public(1)))) {
		t.Errorf("%+v, %+v, %v", got, last, err)
	}
	_, err = verify(s.text(), audit.VerifyOptions{Keys: []ed25519.PublicKey{public(1)}})
	if !errors.Is(err, audit.ErrKey) || !strings.Contains(err.Error(), "lines 3 to 3") {
		t.Error(err)
	}
}

// Who can sign still cannot leave a number out.
func TestSequence(t *testing.T) {
	batch := func(n uint64) []byte {
		entry := fmt.Sprintf(`{"sequence":%d,"time":"2025-10-09T08:53:20Z","event":"released"}`, n)
		chain := audit.Chain(sha256.Sum256(key.Info("coffer/kds/v1/audit", make([]byte, 32), []byte(entry))))
		h := audit.Head{First: n, Last: n, Chain: chain}
		list := key.Info("coffer/kds/v1/audit head", be64(n), be64(n), make([]byte, 32), chain[:])
		s := audit.SignedHead{Head: h, Key: public(1), Signature: ed25519.Sign(signer(1), list)}
		return fmt.Appendf(nil, "{\"entry\":%s,\"chain\":\"%s\"}\n%s\n", entry, chain, s)
	}
	first, err := verify(batch(1), audit.VerifyOptions{})
	if err != nil {
		t.Error(err)
	}
	if _, err := verify(batch(0), audit.VerifyOptions{}); !errors.Is(err, audit.ErrDamaged) {
		t.Errorf("number 0: %v", err)
	}
	for _, n := range []uint64{1, 3} {
		if _, err := verify(batch(n), audit.VerifyOptions{After: &first}); !errors.Is(err, audit.ErrDamaged) {
			t.Errorf("number %d after 1: %v", n, err)
		}
	}
}

func be64(n uint64) []byte { return []byte{0, 0, 0, 0, 0, 0, 0, byte(n)} }

func TestTooLong(t *testing.T) {
	l := open(t, &store{}, 1)
	if err := l.Append(audit.Entry{Event: audit.Refused, Reason: strings.Repeat("x", audit.MaxLineBytes)}); !errors.Is(err, audit.ErrTooLong) {
		t.Errorf("got %v", err)
	}
	if err := l.Append(audit.Entry{Event: audit.Refused}); err != nil {
		t.Errorf("the log is broken after an entry that was too long: %v", err)
	}
}

// Whatever call fails, with or without effect, no entry is acknowledged from then on.
func TestFaultIsFinal(t *testing.T) {
	for n := 1; n <= 4; n++ {
		for _, partial := range []bool{false, true} {
			s := &store{failAt: n, partial: partial}
			l, err := audit.Open(ctx, s, signer(1), clock)
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
			if !errors.Is(err, audit.ErrBroken) || !errors.Is(err, errDisk) || acknowledged != n-1 {
				t.Errorf("call %d fails: %d acknowledged, %v", n, acknowledged, err)
			}
			if l == nil {
				continue
			}
			if err := l.Append(audit.Entry{Event: audit.Released}); !errors.Is(err, audit.ErrBroken) || l.Err() == nil {
				t.Errorf("call %d fails: the log goes on: %v", n, err)
			}
			if _, err := verify(s.text(), audit.VerifyOptions{}); err != nil {
				t.Errorf("call %d fails: what is there: %v", n, err)
			}
			open(t, s, 1) // started anew
		}
	}
}

// Lines that wait together share a signature and a sync, and each is acknowledged
// once.
func TestGroup(t *testing.T) {
	s := &store{}
	l := open(t, s, 1)
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
	got, err := verify(s.text(), audit.VerifyOptions{})
	if err != nil || got.Lines != n+1 || len(s.batches) > n+1 {
		t.Errorf("%+v, %d batches, %v", got, len(s.batches), err)
	}
}

// The audit key is the same after a restart, and another one on another machine, of
// another code, or without its file.
func TestSigningKey(t *testing.T) {
	dir, cpuDir := t.TempDir(), t.TempDir()
	of := func(dir, cpuDir string, code byte) string {
		t.Helper()
		cpu, err := sim.NewCPU(cpuDir)
		must(t, err)
		p, err := cpu.Start(sim.Build{CodeHash: hash(code), SignerHash: hash('E'), ProductID: 1}, sim.Options{})
		must(t, err)
		k, err := audit.SigningKey(p, dir)
		must(t, err)
		return string(k)
	}
	first := of(dir, cpuDir, 'A')
	if of(dir, cpuDir, 'A') != first {
		t.Error("another key after a restart")
	}
	seen := map[string]bool{first: true}
	for _, k := range []string{of(dir, cpuDir, 'B'), of(dir, t.TempDir(), 'A'), of(t.TempDir(), cpuDir, 'A')} {
		if seen[k] {
			t.Error("the same key for somebody else")
		}
		seen[k] = true
	}
}

func FuzzVerify(f *testing.F) {
	s := &store{}
	l, err := audit.Open(ctx, s, signer(1), clock)
	must(f, err)
	must(f, l.Append(audit.Entry{Event: audit.Released}))
	f.Add(s.text())
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := verify(b, audit.VerifyOptions{})
		if err == nil && len(b) > 0 && got.Lines == 0 {
			t.Errorf("%+v of %d bytes", got, len(b))
		}
	})
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func hash(digit byte) attest.Hash { return attest.Hash(bytes.Repeat([]byte{digit}, 64)) }
