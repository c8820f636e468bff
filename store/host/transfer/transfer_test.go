package transfer_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/local"
	"github.com/coffer-fs/coffer/store/host/point"
	"github.com/coffer-fs/coffer/store/host/transfer"
)

var ctx = context.Background()

// source is a volume that changes between points.
type source struct {
	t     testing.TB
	dir   string
	v     *local.Volume
	w     host.Writer
	rng   *rand.Rand
	next  host.SegmentID
	tails map[host.SegmentID]int64
	root  host.Version
	// segment is the capacity of its segments.
	segment int64
}

const segmentBytes = 3 << 20

func newSource(t testing.TB, seed uint64) *source { return newSourceOf(t, seed, segmentBytes) }

func newSourceOf(t testing.TB, seed uint64, segment int64) *source {
	s := &source{t: t, segment: segment, dir: filepath.Join(t.TempDir(), "source"), rng: rand.New(rand.NewPCG(seed, 1)), next: 1, tails: map[host.SegmentID]int64{}}
	must(t, local.Create(s.dir))
	var err error
	s.v, err = local.Open(s.dir)
	must(t, err)
	s.w, err = s.v.Acquire(ctx, host.AcquireOptions{})
	must(t, err)
	t.Cleanup(func() { must(t, errors.Join(s.w.Release(ctx), s.v.Close())) })
	for range 4 {
		s.change()
	}
	return s
}

func (s *source) append(id host.SegmentID, n int64) {
	p := make([]byte, min(n, s.segment-s.tails[id]))
	for i := range p {
		p[i] = byte(s.rng.Uint32())
	}
	must(s.t, s.w.Append(ctx, id, s.tails[id], p))
	s.tails[id] += int64(len(p))
}

// change does something of everything.
func (s *source) change() {
	for range 1 + s.rng.IntN(3) {
		id := s.next
		s.next++
		must(s.t, s.w.Create(ctx, id, s.segment))
		s.tails[id] = 0
		s.append(id, s.rng.Int64N(s.segment))
	}
	for id := range s.tails {
		switch s.rng.IntN(6) {
		case 0:
			must(s.t, s.w.Delete(ctx, id))
			delete(s.tails, id)
			if s.rng.IntN(2) == 0 { // the number comes again
				must(s.t, s.w.Create(ctx, id, s.segment))
				s.tails[id] = 0
				s.append(id, s.rng.Int64N(1000))
			}
		case 1:
			s.append(id, s.rng.Int64N(s.segment))
		}
	}
	b := make([]byte, 1+s.rng.IntN(1000))
	var err error
	s.root, err = s.w.Swap(ctx, "root", s.root, b)
	must(s.t, err)
}

func (s *source) point(name string) host.Point {
	s.t.Helper()
	p, err := s.v.TakePoint(ctx, host.PointOptions{Name: name})
	must(s.t, err)
	s.t.Cleanup(func() { p.Close() })
	return p
}

// stream is what is sent of a point since another one, nil for all of it.
func stream(t testing.TB, p, since host.Point) ([]byte, point.Manifest) {
	t.Helper()
	m := manifest(p, since)
	var b bytes.Buffer
	must(t, transfer.Send(ctx, &b, p, m, transfer.SendOptions{}))
	if n := transfer.StreamBytes(m, m.Start()); n != int64(b.Len()) {
		t.Errorf("the stream has %d bytes, and was said to have %d", b.Len(), n)
	}
	return b.Bytes(), m
}

func manifest(p, since host.Point) point.Manifest {
	if since == nil {
		return point.Of(p.Contents(), nil)
	}
	c := since.Contents()
	return point.Of(p.Contents(), &c)
}

func into(dir string) transfer.Open {
	return func(m point.Manifest) (transfer.Place, error) {
		return local.Receive(ctx, dir, m, local.ReceiveOptions{Owner: "the test"})
	}
}

func receive(dir string, b []byte) error {
	_, err := transfer.Into(ctx, bytes.NewReader(b), into(dir))
	return err
}

// same expects a directory to be a volume that is just that point, with nothing in it
// but that and others.
func same(t *testing.T, dir string, p host.Point, others ...string) {
	t.Helper()
	v, err := local.Open(dir)
	must(t, err)
	defer v.Close()
	got, err := v.TakePoint(ctx, host.PointOptions{})
	must(t, err)
	defer func() { must(t, errors.Join(got.Close(), v.DropPoint(ctx, got.Contents().Info.Name))) }()
	a, err := transfer.DigestOf(ctx, p, nil)
	must(t, err)
	b, err := transfer.DigestOf(ctx, got, nil)
	must(t, err)
	if a != b {
		t.Errorf("the copy is %v, and the point %v", b, a)
	}
	want, have := p.Contents(), got.Contents()
	if len(want.Segments) != len(have.Segments) || len(want.Records) != len(have.Records) {
		t.Errorf("the copy has %d segments and %d records, the point %d and %d", len(have.Segments), len(have.Records), len(want.Segments), len(want.Records))
	}
	r, ok, err := v.Received(ctx)
	if err != nil || !ok || r.Point != want.Info.ID || r.Name != want.Info.Name || r.Changed {
		t.Errorf("the copy says that it is %+v, %v, %v", r, ok, err)
	}
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "lock.") { // of one that was killed
			continue
		}
		if !slices.Contains(others, e.Name()) && !slices.Contains([]string{"catalog.db", "fence", "points", "segments", "spare", "tails", "turn"}, e.Name()) {
			t.Errorf("the copy has %q", e.Name())
		}
	}
}

func seeded(t *testing.T) uint64 {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	return seed
}

func TestTransfer(t *testing.T) {
	s := newSource(t, seeded(t))
	dir := filepath.Join(t.TempDir(), "copy")
	var last host.Point
	for round := range 6 {
		p := s.point(fmt.Sprintf("p%d", round))
		b, m := stream(t, p, last)
		if last != nil && m.Bytes() == m.VolumeBytes() {
			t.Error("all was sent again")
		}
		must(t, receive(dir, b))
		same(t, dir, p)
		last = p
		s.change()
	}
}

// A stream ends anywhere, and goes on from there: whatever was cut off.
func TestResume(t *testing.T) {
	seed := seeded(t)
	rng := rand.New(rand.NewPCG(seed, 2))
	s := newSource(t, seed)
	dir := filepath.Join(t.TempDir(), "copy")
	first := s.point("first")
	s.change()
	second := s.point("second")
	for _, c := range []struct{ p, since host.Point }{{first, nil}, {second, first}} {
		m := manifest(c.p, c.since)
		at, resumed := m.Start(), 0
		for done := false; !done; {
			var b bytes.Buffer
			must(t, transfer.Send(ctx, &b, c.p, m, transfer.SendOptions{At: at}))
			cut := rng.IntN(b.Len() + b.Len()/3)
			err := receive(dir, b.Bytes()[:min(cut, b.Len())])
			if done = cut >= b.Len(); done {
				must(t, err)
				break
			}
			if !errors.Is(err, transfer.ErrCut) {
				t.Fatalf("cut at %d of %d: %v", cut, b.Len(), err)
			}
			if c.since == nil {
				if _, err := local.Open(dir); !errors.Is(err, local.ErrPartial) && !errors.Is(err, host.ErrNotFound) {
					t.Fatalf("a part opens: %v", err)
				}
			} else {
				same(t, dir, first, "incoming") // until all is there it is what it was
			}
			got, now, err := local.PendingTransfer(dir)
			if errors.Is(err, host.ErrNotFound) {
				continue // not even the head came
			}
			must(t, err)
			token, err := point.ParseToken(got.Token(now).String())
			must(t, err)
			if now.Before(at) {
				t.Fatalf("it was at %v, and is at %v", at, now)
			}
			if at, err = transfer.Resume(m, token); err != nil {
				t.Fatal(err)
			}
			resumed++
		}
		same(t, dir, c.p)
	}
}

func TestReceiveRefuses(t *testing.T) {
	s := newSource(t, seeded(t))
	first := s.point("first")
	s.change()
	second := s.point("second")
	s.change()
	third := s.point("third")
	whole, _ := stream(t, first, nil)
	toSecond, _ := stream(t, second, first)
	toThird, _ := stream(t, third, second)
	newCopy := func(t *testing.T) string {
		dir := filepath.Join(t.TempDir(), "copy")
		must(t, receive(dir, whole))
		return dir
	}
	t.Run("a directory that is not empty", func(t *testing.T) {
		dir := t.TempDir()
		must(t, os.WriteFile(filepath.Join(dir, "precious"), nil, 0o600))
		refused(t, receive(dir, whole), host.ErrExists)
	})
	t.Run("a volume", func(t *testing.T) { refused(t, receive(newCopy(t), whole), host.ErrExists) })
	t.Run("no parent", func(t *testing.T) { refused(t, receive(filepath.Join(t.TempDir(), "a", "b"), whole), host.ErrNotFound) })
	t.Run("a file", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "file")
		must(t, os.WriteFile(file, nil, 0o600))
		refused(t, receive(file, whole), host.ErrExists)
	})
	t.Run("since what is not here", func(t *testing.T) {
		refused(t, receive(filepath.Join(t.TempDir(), "new"), toSecond), local.ErrDiverged)
		refused(t, receive(newCopy(t), toThird), local.ErrDiverged)
		refused(t, receive(s.dir, toThird), host.ErrInUse)
	})
	t.Run("since what was never received", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "v")
		must(t, local.Create(dir))
		refused(t, receive(dir, toSecond), local.ErrDiverged)
	})
	t.Run("a copy that was opened for writing", func(t *testing.T) {
		dir := newCopy(t)
		v, err := local.Open(dir)
		must(t, err)
		defer v.Close()
		w, err := v.Acquire(ctx, host.AcquireOptions{})
		must(t, err)
		refused(t, receive(dir, toSecond), host.ErrInUse)
		rec, err := w.Get(ctx, "root")
		must(t, err)
		_, err = w.Swap(ctx, "root", rec.Version, rec.Value)
		must(t, errors.Join(err, w.Release(ctx)))
		refused(t, receive(dir, toSecond), local.ErrDiverged)
		if r, ok, err := v.Received(ctx); !ok || err != nil || !r.Changed {
			t.Errorf("it says %+v, %v, %v", r, ok, err)
		}
	})
	t.Run("a copy that was acquired and not changed", func(t *testing.T) {
		dir := newCopy(t)
		v, err := local.Open(dir)
		must(t, err)
		defer v.Close()
		w, err := v.Acquire(ctx, host.AcquireOptions{})
		must(t, err)
		must(t, w.Create(ctx, 1000, segmentBytes)) // and then it died
		must(t, w.Release(ctx))
		must(t, receive(dir, toSecond))
		same(t, dir, second)
	})
	t.Run("another transfer was begun", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "copy")
		refused(t, receive(dir, whole[:len(whole)/2]), transfer.ErrCut)
		other, _ := stream(t, second, nil)
		refused(t, receive(dir, other), local.ErrOther)
		must(t, local.DropTransfer(dir))
		must(t, receive(dir, other))
		same(t, dir, second)
		refused(t, local.DropTransfer(dir), host.ErrNotFound)
	})
	t.Run("goes on behind where it was cut off", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "copy")
		m := manifest(first, nil)
		var b bytes.Buffer
		must(t, transfer.Send(ctx, &b, first, m, transfer.SendOptions{At: m.After(m.Start(), 100)}))
		refused(t, receive(dir, b.Bytes()), transfer.ErrPosition)
	})
	t.Run("more than is allowed", func(t *testing.T) {
		m := manifest(first, nil)
		dir := filepath.Join(t.TempDir(), "copy")
		_, err := local.Receive(ctx, dir, m, local.ReceiveOptions{MaxBytes: m.VolumeBytes() - 1})
		refused(t, err, host.ErrNoSpace)
	})
	t.Run("more than there is room for", func(t *testing.T) {
		m := manifest(first, nil)
		m.Segments = nil
		for id := range host.SegmentID(host.MaxPointSegments) { // 16 TiB
			m.Segments = append(m.Segments, point.Segment{ID: id + 1, Size: host.MaxSegmentSize})
		}
		_, err := local.Receive(ctx, filepath.Join(t.TempDir(), "copy"), m, local.ReceiveOptions{})
		refused(t, err, host.ErrNoSpace)
	})
	t.Run("a token of something else", func(t *testing.T) {
		m := manifest(first, nil)
		_, err := transfer.Resume(manifest(second, nil), m.Token(m.Start()))
		refused(t, err, transfer.ErrToken)
		_, err = transfer.Resume(m, m.Token(point.Position{Segment: 0, Offset: segmentBytes + 1}))
		refused(t, err, transfer.ErrToken)
		token := m.Token(m.Start()).String()
		for _, s := range []string{"", "coffer1-", token[1:], token + "A", strings.ToUpper(token), token[:20] + "A" + token[21:]} {
			if _, err := point.ParseToken(s); s != token && !errors.Is(err, point.ErrToken) {
				t.Errorf("token %q: %v", s, err)
			}
		}
	})
}

func refused(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("error %v, want %q", err, want)
	}
}

// small is a short stream, with where its parts begin.
func small() (b []byte, m point.Manifest, parts []int) {
	p := &memPoint{c: host.PointContents{
		Info:     host.PointInfo{ID: host.PointID{7}, Name: "small", Taken: time.Unix(3, 0)},
		Records:  map[string][]byte{"root": []byte("r")},
		Segments: []host.PointSegment{{ID: 1, Size: 3}, {ID: 2, Size: 0}, {ID: 5, Size: 4}},
	}}
	m = manifest(p, nil)
	var out bytes.Buffer
	if err := transfer.Send(ctx, &out, p, m, transfer.SendOptions{}); err != nil {
		panic(err)
	}
	manifestEnd := 32 + len(m.Append(nil))
	return out.Bytes(), m, []int{0, 32, manifestEnd, manifestEnd + 24 + 3, manifestEnd + 24 + 3 + 24 + 4}
}

// memPoint is a point whose segments count.
type memPoint struct{ c host.PointContents }

func (p *memPoint) Contents() host.PointContents { return p.c }
func (p *memPoint) Close() error                 { return nil }
func (p *memPoint) Read(_ context.Context, id host.SegmentID, off int64, b []byte) (int, error) {
	for i := range b {
		b[i] = byte(int64(id)*31 + off + int64(i))
	}
	return len(b), nil
}

// sink takes what comes, and notices what is beyond.
type sink struct {
	t  testing.TB
	m  point.Manifest
	at point.Position
	n  int64
}

func (s *sink) Write(_ context.Context, p []byte) error {
	if int64(len(p)) > s.m.Left(s.at) || len(p) == 0 || len(p) > transfer.MaxChunk {
		s.t.Errorf("%d bytes come at segment %d, byte %d", len(p), s.at.Segment, s.at.Offset)
	}
	s.at = s.m.After(s.at, int64(len(p)))
	s.n += int64(len(p))
	return nil
}

func take(t testing.TB, b []byte) (*sink, error) {
	s := &sink{t: t}
	return s, transfer.Receive(ctx, bytes.NewReader(b), func(m point.Manifest, at point.Position) (transfer.Sink, error) {
		s.m, s.at = m, at
		return s, nil
	})
}

// One bit of a stream is another one, and it ends at every byte: it is never taken as
// whole.
func TestStreamDefects(t *testing.T) {
	whole, _, parts := small()
	if s, err := take(t, whole); err != nil || s.n != 7 {
		t.Fatalf("%d bytes, %v", s.n, err)
	}
	for i := range whole {
		for bit := range 8 {
			b := slices.Clone(whole)
			b[i] ^= 1 << bit
			if _, err := take(t, b); !errors.Is(err, transfer.ErrStream) && !errors.Is(err, transfer.ErrCut) {
				t.Errorf("bit %d of byte %d: %v", bit, i, err)
			}
		}
		if _, err := take(t, whole[:i]); !errors.Is(err, transfer.ErrCut) {
			t.Errorf("cut at %d: %v", i, err)
		}
	}
	part := func(i int) []byte {
		if i+1 < len(parts) {
			return whole[parts[i]:parts[i+1]]
		}
		return whole[parts[i]:]
	}
	for name, order := range map[string][]int{
		"a chunk is missing": {0, 1, 2, 4}, "the other": {0, 1, 3, 4}, "a chunk twice": {0, 1, 2, 2, 3, 4},
		"out of order": {0, 1, 3, 2, 4}, "ends twice": {0, 1, 2, 4, 3, 4}, "no head": {2, 3, 4}, "a stream in a stream": {0, 1, 2, 0, 1, 2, 3, 4},
	} {
		var b []byte
		for _, i := range order {
			b = append(b, part(i)...)
		}
		if _, err := take(t, b); !errors.Is(err, transfer.ErrStream) {
			t.Errorf("%s: %v", name, err)
		}
	}
	large := slices.Clone(whole)
	binary.BigEndian.PutUint32(large[12:], point.MaxSize+1)
	binary.BigEndian.PutUint32(large[28:], point.Checksum(large[:28]))
	if _, err := take(t, large); !errors.Is(err, transfer.ErrStream) {
		t.Errorf("a manifest beyond its limit: %v", err)
	}
	later := slices.Clone(whole)
	binary.BigEndian.PutUint16(later[8:], 2)
	if _, err := take(t, later); !errors.Is(err, transfer.ErrStream) || !strings.Contains(err.Error(), "version 2") {
		t.Errorf("version 2: %v", err)
	}
}

// FuzzStream: nothing comes that has no place, and what is taken as whole is.
func FuzzStream(f *testing.F) {
	whole, _, parts := small()
	f.Add(whole)
	f.Add(whole[:parts[3]])
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := take(t, b)
		if err == nil && s.at != s.m.End() {
			t.Errorf("%x is taken as whole, and ends at %v", b, s.at)
		}
	})
}

// FuzzToken: what is taken encodes to the same text.
func FuzzToken(f *testing.F) {
	_, m, _ := small()
	f.Add(m.Token(m.Start()).String())
	f.Fuzz(func(t *testing.T, s string) {
		if token, err := point.ParseToken(s); err == nil && token.String() != s {
			t.Errorf("%q decodes, and encodes to %q", s, token.String())
		}
	})
}

func TestDigests(t *testing.T) {
	s := newSource(t, seeded(t))
	p := s.point("p")
	b, m := stream(t, p, nil)
	want, err := transfer.DigestOf(ctx, p, nil)
	must(t, err)
	got, d, err := transfer.DigestOfStream(ctx, bytes.NewReader(b))
	must(t, err)
	if d != want || got.ID != m.ID {
		t.Errorf("the stream is %v, the point %v", d, want)
	}
	_, _, err = transfer.DigestOfStream(ctx, bytes.NewReader(append(b, 0)))
	refused(t, err, transfer.ErrStream)
	s.change()
	part, _ := stream(t, s.point("q"), p)
	_, _, err = transfer.DigestOfStream(ctx, bytes.NewReader(part))
	refused(t, err, transfer.ErrPart)
	seen := map[transfer.Digest]string{want: "p"}
	for name, change := range map[string]func(c *host.PointContents){
		"another record":       func(c *host.PointContents) { c.Records = map[string][]byte{"root": []byte("x")} },
		"another name":         func(c *host.PointContents) { c.Records = map[string][]byte{"toor": c.Records["root"]} },
		"no record":            func(c *host.PointContents) { c.Records = nil },
		"a segment less":       func(c *host.PointContents) { c.Segments = c.Segments[1:] },
		"a byte less":          func(c *host.PointContents) { c.Segments = slices.Clone(c.Segments); c.Segments[0].Size-- },
		"another segment":      func(c *host.PointContents) { c.Segments = slices.Clone(c.Segments); c.Segments[0].ID = 99 },
		"the point of a stone": func(c *host.PointContents) { c.Segments = nil },
	} {
		mem := &memPoint{c: host.PointContents{Records: map[string][]byte{"root": []byte("r")}, Segments: []host.PointSegment{{ID: 1, Size: 5}, {ID: 2, Size: 5}}}}
		change(&mem.c)
		d, err := transfer.DigestOf(ctx, mem, nil)
		must(t, err)
		if other, ok := seen[d]; ok {
			t.Errorf("%s and %s have one digest", name, other)
		}
		seen[d] = name
	}
}

// A reader that ends with an error of its own is told.
func TestReadError(t *testing.T) {
	whole, _, _ := small()
	failed := errors.New("the wire is on fire")
	r := io.MultiReader(bytes.NewReader(whole[:len(whole)-50]), &failing{failed})
	err := transfer.Receive(ctx, r, func(m point.Manifest, at point.Position) (transfer.Sink, error) {
		return &sink{t: t, m: m, at: at}, nil
	})
	refused(t, err, failed)
}

type failing struct{ err error }

func (f *failing) Read([]byte) (int, error) { return 0, f.err }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
