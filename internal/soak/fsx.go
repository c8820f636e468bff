package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

const (
	fsxMaxBytes = 512 << 10 // of the file
	fsxMaxOp    = 96 << 10  // of one operation
	fsxHistory  = 40        // operations shown when something is wrong
)

// exerciser does random things to a file, and to a slice that is simple enough to
// be right.
type exerciser struct {
	path  string
	file  *os.File
	rnd   *rand.Rand
	model []byte
	past  []string // the last operations
}

// operations have weights: reading and writing are what most programs do.
var operations = []struct {
	name   string
	weight int
	do     func(*exerciser) error
}{
	{"read", 20, (*exerciser).read},
	{"write", 24, (*exerciser).write},
	{"append", 4, (*exerciser).append},
	{"truncate", 6, (*exerciser).truncate},
	{"punch", 6, (*exerciser).punch},
	{"zero", 5, (*exerciser).zero},
	{"allocate", 4, (*exerciser).allocate},
	{"mapped read", 8, (*exerciser).mappedRead},
	{"mapped write", 8, (*exerciser).mappedWrite},
	{"copy", 6, (*exerciser).copy},
	{"seek", 5, (*exerciser).seek},
	{"sync", 1, (*exerciser).sync},
	{"reopen", 2, (*exerciser).reopen},
	{"whole", 1, (*exerciser).whole},
}

// fsx is named for the exerciser that every filesystem of the last decades met.
func fsx(dir string, count int, seed uint64) (err error) {
	if seed == 0 {
		seed = rand.Uint64()
	}
	fmt.Printf("   seed %d\n", seed)
	x := &exerciser{path: filepath.Join(dir, "fsx"), rnd: rand.New(rand.NewPCG(seed, 0))}
	if x.file, err = os.Create(x.path); err != nil {
		return err
	}
	var table []int
	for i, o := range operations {
		for range o.weight {
			table = append(table, i)
		}
	}
	for i := range count {
		o := operations[table[x.rnd.IntN(len(table))]]
		if err := o.do(x); err != nil {
			for _, p := range x.past {
				fmt.Println("   ", p)
			}
			return fmt.Errorf("seed %d, operation %d, %s: %w", seed, i, o.name, err)
		}
	}
	return errors.Join(x.whole(), x.file.Close())
}

func (x *exerciser) note(format string, args ...any) {
	if len(x.past) == fsxHistory {
		x.past = x.past[1:]
	}
	x.past = append(x.past, fmt.Sprintf(format, args...))
}

// span is a part of the file that is there; empty if there is none.
func (x *exerciser) span() (off, size int) {
	if len(x.model) == 0 {
		return 0, 0
	}
	off = x.rnd.IntN(len(x.model))
	return off, 1 + x.rnd.IntN(min(fsxMaxOp, len(x.model)-off))
}

// place is any part of the file as it may come to be.
func (x *exerciser) place() (off, size int) {
	off = x.rnd.IntN(fsxMaxBytes)
	if x.rnd.IntN(4) == 0 {
		off &^= 4095
	}
	return off, 1 + x.rnd.IntN(min(fsxMaxOp, fsxMaxBytes-off))
}

func (x *exerciser) random(size int) []byte {
	p := make([]byte, size)
	first := byte(x.rnd.Uint32())
	for i := range p {
		p[i] = first + byte(i*7)
	}
	return p
}

// grow makes the model at least size long.
func (x *exerciser) grow(size int) {
	if size > len(x.model) {
		x.model = append(x.model, make([]byte, size-len(x.model))...)
	}
}

func differ(got, want []byte, off int) error {
	for i := range got {
		if got[i] != want[i] {
			return fmt.Errorf("byte %d is %#x, not %#x", off+i, got[i], want[i])
		}
	}
	return nil
}

func (x *exerciser) read() error {
	off, size := x.place()
	x.note("read %d at %d", size, off)
	got := make([]byte, size)
	n, err := x.file.ReadAt(got, int64(off))
	want := 0
	if off < len(x.model) {
		want = min(size, len(x.model)-off)
	}
	if n != want || err != nil && err != io.EOF {
		return fmt.Errorf("read %d of %d bytes at %d of %d: %w", n, size, off, len(x.model), err)
	}
	return differ(got[:n], x.model[min(off, len(x.model)):], off)
}

func (x *exerciser) write() error {
	off, size := x.place()
	x.note("write %d at %d", size, off)
	p := x.random(size)
	if _, err := x.file.WriteAt(p, int64(off)); err != nil {
		return err
	}
	x.grow(off + size)
	copy(x.model[off:], p)
	return nil
}

func (x *exerciser) append() error {
	size := 1 + x.rnd.IntN(8<<10)
	if len(x.model)+size > fsxMaxBytes {
		return nil
	}
	x.note("append %d", size)
	f, err := os.OpenFile(x.path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	p := x.random(size)
	_, err = f.Write(p)
	x.model = append(x.model, p...)
	return errors.Join(err, f.Close())
}

func (x *exerciser) truncate() error {
	size := x.rnd.IntN(fsxMaxBytes)
	x.note("truncate to %d", size)
	if err := x.file.Truncate(int64(size)); err != nil {
		return err
	}
	x.grow(size)
	x.model = x.model[:size]
	return x.sized()
}

func (x *exerciser) sized() error {
	i, err := x.file.Stat()
	if err == nil && i.Size() != int64(len(x.model)) {
		err = fmt.Errorf("the size is %d, not %d", i.Size(), len(x.model))
	}
	return err
}

func (x *exerciser) fallocate(mode uint32, off, size int) error {
	return unix.Fallocate(int(x.file.Fd()), mode, int64(off), int64(size))
}

func (x *exerciser) punch() error {
	off, size := x.place()
	x.note("punch %d at %d", size, off)
	if err := x.fallocate(unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, size); err != nil {
		return err
	}
	x.clear(off, size)
	return x.sized()
}

func (x *exerciser) clear(off, size int) {
	if off < len(x.model) {
		clear(x.model[off:min(off+size, len(x.model))])
	}
}

func (x *exerciser) zero() error {
	off, size := x.place()
	keep := x.rnd.IntN(2) == 0
	x.note("zero %d at %d, keep size %v", size, off, keep)
	mode := uint32(unix.FALLOC_FL_ZERO_RANGE)
	if keep {
		mode |= unix.FALLOC_FL_KEEP_SIZE
	} else {
		x.grow(off + size)
	}
	if err := x.fallocate(mode, off, size); err != nil {
		return err
	}
	x.clear(off, size)
	return x.sized()
}

func (x *exerciser) allocate() error {
	off, size := x.place()
	keep := x.rnd.IntN(2) == 0
	x.note("allocate %d at %d, keep size %v", size, off, keep)
	mode := uint32(0)
	if keep {
		mode = unix.FALLOC_FL_KEEP_SIZE
	} else {
		x.grow(off + size)
	}
	if err := x.fallocate(mode, off, size); err != nil {
		return err
	}
	return x.sized()
}

// mapped calls fn with a part of the file in memory.
func (x *exerciser) mapped(protection int, fn func(p []byte, off int)) error {
	off, size := x.span()
	if size == 0 {
		return nil
	}
	x.note("map %d at %d, protection %d", size, off, protection)
	page := off &^ (os.Getpagesize() - 1)
	p, err := unix.Mmap(int(x.file.Fd()), int64(page), off-page+size, protection, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	fn(p[off-page:], off)
	return unix.Munmap(p)
}

func (x *exerciser) mappedRead() error {
	var differs error
	err := x.mapped(unix.PROT_READ, func(p []byte, off int) { differs = differ(p, x.model[off:], off) })
	return errors.Join(err, differs)
}

func (x *exerciser) mappedWrite() error {
	return x.mapped(unix.PROT_READ|unix.PROT_WRITE, func(p []byte, off int) {
		copy(p, x.random(len(p)))
		copy(x.model[off:], p)
	})
}

func (x *exerciser) copy() error {
	from, size := x.span()
	to := x.rnd.IntN(fsxMaxBytes - size)
	if size == 0 || from < to+size && to < from+size {
		return nil // it must not overlap
	}
	x.note("copy %d from %d to %d", size, from, to)
	x.grow(to + size)
	copy(x.model[to:], x.model[from:from+size])
	in, out := int64(from), int64(to)
	for left := size; left > 0; {
		n, err := unix.CopyFileRange(int(x.file.Fd()), &in, int(x.file.Fd()), &out, left, 0)
		if err != nil || n == 0 {
			return fmt.Errorf("copied %d: %w", n, err)
		}
		left -= n
	}
	return x.sized()
}

// seek checks that there is nothing in a hole. What is data may be zeros.
func (x *exerciser) seek() error {
	off, size := x.span()
	if size == 0 {
		return nil
	}
	x.note("seek from %d", off)
	data, err := x.file.Seek(int64(off), unix.SEEK_DATA)
	if errors.Is(err, unix.ENXIO) {
		data, err = int64(len(x.model)), nil
	}
	if err != nil {
		return err
	}
	if i := bytes.IndexFunc(x.model[off:data], func(r rune) bool { return r != 0 }); i >= 0 {
		return fmt.Errorf("data at %d is in a hole from %d to %d", off+i, off, data)
	}
	hole, err := x.file.Seek(int64(off), unix.SEEK_HOLE)
	if err == nil && (hole < int64(off) || hole > int64(len(x.model))) {
		err = fmt.Errorf("hole behind %d at %d of %d", off, hole, len(x.model))
	}
	return err
}

func (x *exerciser) sync() error {
	x.note("sync")
	return x.file.Sync()
}

func (x *exerciser) reopen() (err error) {
	x.note("reopen")
	if err := x.file.Close(); err != nil {
		return err
	}
	x.file, err = os.OpenFile(x.path, os.O_RDWR, 0)
	return err
}

func (x *exerciser) whole() error {
	got, err := os.ReadFile(x.path)
	if err != nil {
		return err
	}
	if len(got) != len(x.model) {
		return fmt.Errorf("%d bytes, not %d", len(got), len(x.model))
	}
	return differ(got, x.model, 0)
}
