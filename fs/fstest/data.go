package fstest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"

	"github.com/coffer-fs/coffer/fs"
)

func testAppend(t *tester) {
	f := t.open("f", syscall.O_WRONLY|syscall.O_CREAT|syscall.O_APPEND)
	g := t.open("f", syscall.O_WRONLY|syscall.O_APPEND)
	var want strings.Builder
	for i := range 100 {
		part := strings.Repeat(string(rune('a'+i%26)), 1+i*37%700)
		_, err := []File{f, g}[i%2].Write([]byte(part))
		t.ok(err)
		want.WriteString(part)
	}
	t.ok(f.Close())
	t.ok(g.Close())
	t.holds("f", want.String())
}

func testTruncate(t *tester) {
	content := strings.Repeat("0123456789", 2000)
	for _, size := range []int{0, 1, 2047, 2048, 2049, 4095, 4096, 4097, 12_345, 20_000, 30_000} {
		t.write("f", content)
		t.ok(t.Truncate("f", int64(size)))
		want := (content + strings.Repeat("\x00", 10_000))[:size]
		t.holds("f", want)
		t.ok(t.Truncate("f", int64(size)+5000)) // what was cut off does not come back
		t.holds("f", want+strings.Repeat("\x00", 5000))
	}
	f := t.open("f", rdwr)
	defer f.Close()
	t.ok(f.Truncate(3))
	t.holds("f", "012"[:3])
	t.fails(f.Truncate(-1), syscall.EINVAL)
	t.ok(t.Mkdir("d", 0o755))
	t.fails(t.Truncate("d", 0), syscall.EISDIR)
	t.fails(t.Truncate("none", 0), syscall.ENOENT)
}

func testReadWrite(t *tester) {
	f := t.open("f", rdwr|syscall.O_CREAT)
	defer f.Close()
	model := make([]byte, 0, 1<<20)
	for i := range 60 {
		p := bytes.Repeat([]byte{byte(i + 1)}, 1+i*i*31%90_000)
		off := i * 7919 % 200_000
		if need := off + len(p); need > len(model) {
			model = append(model, make([]byte, need-len(model))...)
		}
		copy(model[off:], p)
		_, err := f.WriteAt(p, int64(off))
		t.ok(err)
		if i%10 == 0 {
			t.ok(f.Sync())
		}
		got := make([]byte, len(p)+100)
		n, err := f.ReadAt(got, int64(max(0, off-50)))
		if err != nil && err != io.EOF {
			t.Fatal(err)
		}
		if !bytes.Equal(got[:n], model[max(0, off-50):max(0, off-50)+n]) {
			t.Fatalf("step %d: read something else", i)
		}
	}
	t.holds("f", string(model))
	if _, err := f.ReadAt(make([]byte, 1), int64(len(model))); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
}

func testSparse(t *tester) {
	f := t.open("f", rdwr|syscall.O_CREAT)
	defer f.Close()
	_, err := f.WriteAt([]byte("end"), 1_000_000)
	t.ok(err)
	t.holds("f", strings.Repeat("\x00", 1_000_000)+"end")
	t.ok(f.Sync())
	if b := t.stat("f").Bytes; b > 64<<10 {
		t.Errorf("a hole takes %d bytes", b)
	}
	t.holds("f", strings.Repeat("\x00", 1_000_000)+"end")
}

// testHuge writes and reads beyond 4 GiB.
func testHuge(t *tester) {
	f := t.open("f", rdwr|syscall.O_CREAT)
	defer f.Close()
	places := []int64{1<<32 - 2, 1<<32 + 5, 1 << 40}
	for _, off := range places {
		_, err := f.WriteAt([]byte("here"), off)
		t.ok(err)
	}
	t.ok(f.Sync())
	for _, off := range places {
		b := make([]byte, 6)
		if n, err := f.ReadAt(b, off-1); string(b[:5]) != "\x00here" {
			t.Errorf("at %d: %q, %d, %v", off, b, n, err)
		}
	}
	if size := t.stat("f").Size; size != 1<<40+4 {
		t.Errorf("size %d", size)
	}
	t.ok(f.Truncate(1<<32 + 7))
	if size := t.stat("f").Size; size != 1<<32+7 {
		t.Errorf("size %d", size)
	}
}

func (t *tester) seek(f File, off int64, whence int, want int64) {
	t.Helper()
	if got, err := f.Seek(off, whence); err != nil || got != want {
		t.Errorf("seek from %d, whence %d: %d, %v, want %d", off, whence, got, err, want)
	}
}

func testSeekData(t *tester) {
	f := t.open("f", rdwr|syscall.O_CREAT)
	defer f.Close()
	block := make([]byte, 64<<10)
	for _, at := range []int64{64 << 10, 256 << 10} {
		_, err := f.WriteAt(bytes.Repeat([]byte("x"), len(block)), at)
		t.ok(err)
	}
	t.ok(f.Truncate(1 << 20))
	t.seek(f, 0, fs.SeekData, 64<<10)
	t.seek(f, 70<<10, fs.SeekData, 70<<10)
	t.seek(f, 64<<10, fs.SeekHole, 128<<10)
	t.seek(f, 0, fs.SeekHole, 0)
	t.seek(f, 128<<10, fs.SeekData, 256<<10)
	t.seek(f, 300<<10, fs.SeekHole, 320<<10)
	_, err := f.Seek(320<<10, fs.SeekData)
	t.fails(err, syscall.ENXIO)
	_, err = f.Seek(1<<20, fs.SeekHole)
	t.fails(err, syscall.ENXIO)
	t.seek(f, -10, io.SeekEnd, 1<<20-10)
	_, err = f.Seek(-1, io.SeekStart)
	t.fails(err, syscall.EINVAL)
}

func testPunch(t *tester) {
	const mode = fs.AllocPunchHole | fs.AllocKeepSize
	for _, size := range []int{1000, 200_000} {
		content := bytes.Repeat([]byte("punch"), size/5)
		for _, r := range [][2]int{{0, 10}, {100, 300}, {4000, 5000}, {4096, 8192}, {8192, 1 << 20}, {100_001, 1}} {
			t.write("f", string(content))
			f := t.open("f", rdwr)
			t.ok(f.Allocate(mode, int64(r[0]), int64(r[1])))
			want := bytes.Clone(content)
			clear(want[min(r[0], size):min(r[0]+r[1], size)])
			t.holds("f", string(want))
			t.ok(f.Close())
		}
	}
	f := t.open("f", rdwr)
	defer f.Close()
	t.ok(f.Sync())
	before := t.stat("f").Bytes
	t.ok(f.Allocate(mode, 64<<10, 64<<10))
	if after := t.stat("f").Bytes; after > before-60<<10 {
		t.Errorf("%d bytes before, %d after", before, after)
	}
	t.fails(f.Allocate(mode, 0, 0), syscall.EINVAL)
	t.fails(f.Allocate(fs.AllocPunchHole, 0, 1), syscall.EOPNOTSUPP)
}

func testZeroRange(t *tester) {
	t.write("f", strings.Repeat("z", 10_000))
	f := t.open("f", rdwr)
	defer f.Close()
	t.ok(f.Allocate(fs.AllocZeroRange|fs.AllocKeepSize, 9000, 5000))
	t.holds("f", strings.Repeat("z", 9000)+strings.Repeat("\x00", 1000))
	t.ok(f.Allocate(fs.AllocZeroRange, 5000, 10_000))
	t.holds("f", strings.Repeat("z", 5000)+strings.Repeat("\x00", 10_000))
}

func testAllocate(t *tester) {
	t.write("f", "data")
	f := t.open("f", rdwr)
	defer f.Close()
	t.ok(f.Allocate(fs.AllocKeepSize, 0, 100_000))
	t.holds("f", "data")
	t.ok(f.Allocate(0, 0, 10_000))
	t.holds("f", "data"+strings.Repeat("\x00", 9996))
	t.ok(f.Allocate(0, 0, 100))
	if size := t.stat("f").Size; size != 10_000 {
		t.Errorf("size %d", size)
	}
}

func testStatFS(t *tester) {
	before, err := t.StatFS()
	t.ok(err)
	t.ok(t.Mkdir("d", 0o755))
	after, err := t.StatFS()
	t.ok(err)
	if before.Bytes <= 0 || before.FreeBytes <= 0 || before.FreeBytes > before.Bytes || after.FreeInodes > before.FreeInodes {
		t.Errorf("before %+v, after %+v", before, after)
	}
}

// testFull fills the volume, with data and then with names, and empties it again:
// what was accepted is there, and the room comes back.
func testFull(t *tester) {
	block := bytes.Repeat([]byte("full"), 64<<10)
	for round := range 3 {
		files := 0
		for ; ; files++ {
			err := t.fill(fmt.Sprintf("f%d", files), block)
			if err == nil && files < 10_000 {
				continue
			}
			t.fails(err, syscall.ENOSPC)
			break
		}
		for i := range files {
			t.holds(fmt.Sprintf("f%d", i), string(block))
		}
		if files < 10 {
			t.Errorf("round %d: only %d files", round, files)
		}
		t.ok(t.Rename("f0", "renamed", 0))
		for _, name := range []string{"renamed", fmt.Sprintf("f%d", files)} {
			if err := t.Remove(name); err != nil && !errors.Is(err, syscall.ENOENT) {
				t.Fatal(err)
			}
		}
		for i := 1; i < files; i++ {
			t.ok(t.Remove(fmt.Sprintf("f%d", i)))
		}
	}
	t.write("after", "usable")
	t.holds("after", "usable")
}

func (t *tester) fill(name string, block []byte) error {
	f, err := t.Open(name, rdwr|syscall.O_CREAT|syscall.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(block)
	return errors.Join(err, f.Sync(), f.Close())
}
