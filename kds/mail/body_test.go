package mail_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/coffer-fs/coffer/kds/mail"
	"github.com/coffer-fs/coffer/key"
)

const sealedChunk = mail.ChunkBytes + 4 + 16

func bodyKey(t testing.TB) key.Key {
	t.Helper()
	k, err := key.FromBytes(bytes.Repeat([]byte{9}, key.Size))
	must(t, err)
	return k
}

// pattern is a body in which every place looks different.
func pattern(size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(i ^ i>>8 ^ i>>16)
	}
	return b
}

func sealed(t testing.TB, body []byte, minSize int64) []byte {
	t.Helper()
	var w bytes.Buffer
	must(t, mail.SealBody(&w, bodyKey(t), bytes.NewReader(body), minSize))
	return w.Bytes()
}

// opened is what a reader gets, and how it ends.
func opened(t testing.TB, b []byte) ([]byte, error) {
	t.Helper()
	r, err := mail.OpenBody(bytes.NewReader(b), bodyKey(t))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

func TestBodySizes(t *testing.T) {
	for _, size := range []int{0, 1, mail.ChunkBytes - 1, mail.ChunkBytes, mail.ChunkBytes + 1, 2 * mail.ChunkBytes, 2*mail.ChunkBytes + 7} {
		for _, minSize := range []int{0, 1, size + 1, mail.ChunkBytes, mail.ChunkBytes + 1, 3 * mail.ChunkBytes} {
			body := pattern(size)
			b := sealed(t, body, int64(minSize))
			looks := max(size, minSize)
			if want := looks + 20*max(1, (looks+mail.ChunkBytes-1)/mail.ChunkBytes); len(b) != want {
				t.Errorf("%d padded to %d has %d bytes, want %d", size, minSize, len(b), want)
			}
			if got, err := opened(t, b); err != nil || !bytes.Equal(got, body) {
				t.Errorf("%d padded to %d gives %d bytes, %v", size, minSize, len(got), err)
			}
		}
	}
}

// One defect each, in a body of three chunks and a bit. What is given out before
// is verified: it is a beginning of the body, in whole chunks.
func TestBodyDefects(t *testing.T) {
	body := pattern(3*mail.ChunkBytes + 100)
	whole := sealed(t, body, 0)
	at := func(i int) []byte { return whole[min(i*sealedChunk, len(whole)):min((i+1)*sealedChunk, len(whole))] }
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	flip := func(i int) []byte { b := bytes.Clone(whole); b[i] ^= 1; return b }
	for _, c := range []struct {
		what   string
		b      []byte
		chunks int // given out
	}{
		{"all is cut off", nil, 0},
		{"cut in the tag of the first", whole[:10], 0},
		{"cut after the first", whole[:sealedChunk], 0},
		{"cut after the second", whole[:2*sealedChunk], 1},
		{"cut in the third", whole[:2*sealedChunk+1000], 2},
		{"cut before the last", whole[:3*sealedChunk], 2},
		{"cut in the last", whole[:len(whole)-1], 3},
		{"swapped", join(at(1), at(0), at(2), at(3)), 0},
		{"swapped later", join(at(0), at(2), at(1), at(3)), 1},
		{"one missing", join(at(0), at(2), at(3)), 1},
		{"one twice", join(at(0), at(1), at(1), at(2), at(3)), 2},
		{"last one first", join(at(3)), 0},
		{"last one twice", join(whole, at(3)), 3},
		{"a byte more", join(whole, []byte{0}), 3},
		{"a mail more", join(whole, whole), 3},
		{"first flipped", flip(0), 0},
		{"second flipped", flip(sealedChunk), 1},
		{"last flipped", flip(len(whole) - 1), 3},
	} {
		got, err := opened(t, c.b)
		wants(t, c.what, err, mail.ErrDamaged, "chunk")
		if !bytes.Equal(got, body[:c.chunks*mail.ChunkBytes]) {
			t.Errorf("%s: %d bytes are given out, want %d chunks", c.what, len(got), c.chunks)
		}
	}
}

// What only a sender can do wrong: chunks whose tags match.
func TestSenderMistakes(t *testing.T) {
	chunk := func(data, pad int) []byte {
		b := binary.BigEndian.AppendUint32(nil, uint32(data))
		return append(append(b, pattern(data)...), make([]byte, pad)...)
	}
	full, half := chunk(mail.ChunkBytes, 0), chunk(100, mail.ChunkBytes-100)
	for _, c := range []struct {
		what, text string
		chunks     [][]byte
		size       int // given out
	}{
		{"right", "", [][]byte{full, half, chunk(0, 7)}, mail.ChunkBytes + 100},
		{"data after padding", "chunk 1: it cannot have data of 1 bytes", [][]byte{half, chunk(1, 0)}, 100},
		{"data after a chunk of padding", "chunk 1: it cannot have data of 1 bytes", [][]byte{chunk(0, mail.ChunkBytes), chunk(1, 0)}, 0},
		{"empty last chunk", "chunk 1: it has 4 bytes", [][]byte{full, chunk(0, 0)}, mail.ChunkBytes},
		{"padding not zero", "chunk 0: its padding is not zero", [][]byte{append(chunk(1, 5), 1)}, 0},
		{"too much data", "chunk 0: it cannot have data of 8 bytes", [][]byte{chunk(8, 0)[:11]}, 0},
		{"no size", "chunk 0: it has 3 bytes", [][]byte{make([]byte, 3)}, 0},
		{"short chunk before the last", "chunk 0", [][]byte{chunk(5, 0), chunk(5, 0)}, 0},
	} {
		got, err := opened(t, mail.SealChunks(bodyKey(t), c.chunks...))
		if c.text == "" {
			must(t, err)
		} else {
			wants(t, c.what, err, mail.ErrDamaged, c.text)
		}
		if len(got) != c.size {
			t.Errorf("%s: %d bytes are given out, want %d", c.what, len(got), c.size)
		}
	}
}

// Every place where a mail can end before its end.
func TestTruncation(t *testing.T) {
	sk := pair(t, 1)
	b := post(t, office(t, sk), "body", mail.Options{PrivateHeader: []byte("private")})
	for i := range b {
		l, err := mail.Open(ctx, bytes.NewReader(b[:i]), one{sk})
		if l != nil || !errors.Is(err, mail.ErrDamaged) {
			t.Fatalf("%d of %d bytes: %v, want %v", i, len(b), err, mail.ErrDamaged)
		}
	}
}

// The chunk after the last that may be is refused, and not sealed.
func TestChunkLimit(t *testing.T) {
	err := mail.SealBodyAfter(io.Discard, bodyKey(t), mail.MaxChunks-1, bytes.NewReader(pattern(mail.ChunkBytes)), 0)
	must(t, err)
	err = mail.SealBodyAfter(io.Discard, bodyKey(t), mail.MaxChunks-1, bytes.NewReader(pattern(mail.ChunkBytes+1)), 0)
	wants(t, "too many chunks", err, mail.ErrLimit, "4294967296 chunks")
}

var errBroken = errors.New("broken")

// A body or a file that breaks is not an end, and not damage.
func TestBrokenStreams(t *testing.T) {
	sk := pair(t, 1)
	var w bytes.Buffer
	_, err := office(t, sk).Post(&w, io.MultiReader(bytes.NewReader(pattern(100_000)), iotest.ErrReader(errBroken)), mail.Options{})
	wants(t, "a body that breaks", err, errBroken, "post letter")
	l := open(t, append(w.Bytes(), make([]byte, 40)...), one{sk})
	if _, err := io.ReadAll(l.Body); !errors.Is(err, mail.ErrDamaged) {
		t.Errorf("what was written of it opens: %v", err)
	}

	b := post(t, office(t, sk), strings.Repeat("x", 200_000), mail.Options{})
	for size := 0; size < len(b); size += 1009 {
		l, err := mail.Open(ctx, io.MultiReader(bytes.NewReader(b[:size]), iotest.ErrReader(errBroken)), one{sk})
		if err == nil {
			_, err = io.ReadAll(l.Body)
		}
		if !errors.Is(err, errBroken) || errors.Is(err, mail.ErrDamaged) {
			t.Fatalf("a letter whose reader breaks after %d bytes: %v", size, err)
		}
	}
	for size := 0; size < len(b); size += 20_011 {
		_, err := office(t, sk).Post(&limited{left: size}, strings.NewReader(strings.Repeat("x", 200_000)), mail.Options{})
		wants(t, "a writer that is full", err, errBroken, "post letter")
	}
}

// limited is a writer that breaks.
type limited struct{ left int }

func (l *limited) Write(p []byte) (int, error) {
	if l.left -= len(p); l.left < 0 {
		return 0, errBroken
	}
	return len(p), nil
}

// The first error is the last: nothing is given out behind it.
func TestErrorsStay(t *testing.T) {
	b := sealed(t, pattern(2*mail.ChunkBytes), 0)
	b[sealedChunk] ^= 1
	r, err := mail.OpenBody(bytes.NewReader(b), bodyKey(t))
	must(t, err)
	if _, err := io.ReadAll(r); !errors.Is(err, mail.ErrDamaged) {
		t.Fatal(err)
	}
	for range 3 {
		if n, err := r.Read(make([]byte, 10)); n != 0 || !errors.Is(err, mail.ErrDamaged) {
			t.Errorf("%d bytes, %v", n, err)
		}
	}
}

// A small reader is read in small steps.
func TestOneByteReader(t *testing.T) {
	sk := pair(t, 1)
	b := post(t, office(t, sk), "some body", mail.Options{PrivateHeader: []byte("pp")})
	l, err := mail.Open(ctx, iotest.OneByteReader(bytes.NewReader(b)), one{sk})
	must(t, err)
	must(t, iotest.TestReader(l.Body, []byte("some body")))
}

// A large body passes through memory of a few chunks.
func TestBoundedMemory(t *testing.T) {
	const size = 32 << 20
	sk := pair(t, 1)
	o := office(t, sk)
	r, w := io.Pipe()
	done := make(chan error)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	go func() {
		_, err := o.Post(w, io.LimitReader(zeros{}, size), mail.Options{})
		_ = w.CloseWithError(err)
		done <- err
	}()
	l, err := mail.Open(ctx, r, one{sk})
	must(t, err)
	n, err := io.Copy(io.Discard, l.Body)
	must(t, err)
	must(t, <-done)
	runtime.ReadMemStats(&after)
	if n != size {
		t.Errorf("%d bytes, want %d", n, size)
	}
	if all := after.TotalAlloc - before.TotalAlloc; all > 4<<20 {
		t.Errorf("%d bytes were allocated for a body of %d", all, size)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
