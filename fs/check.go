package fs

import (
	"context"
	"fmt"
	"math"

	"github.com/coffer-fs/coffer/store"
)

// MaxProblemsListed is how many problems a CheckReport lists; more are only
// counted.
const MaxProblemsListed = 100

// CheckProgress is how far a Check has come. Both are counts of inodes.
type CheckProgress struct {
	Done  uint64
	Total uint64 // as the superblock has it
}

// Problem is something that contradicts itself in the tree of files.
type Problem struct {
	Ino  Ino
	Path string // of the file, or of a directory that names it; empty if none was found
	What string
}

func (p Problem) String() string {
	if p.Path == "" {
		return fmt.Sprintf("inode %d: %s", p.Ino, p.What)
	}
	return fmt.Sprintf("inode %d, %q: %s", p.Ino, p.Path, p.What)
}

// CheckReport is what Check saw.
type CheckReport struct {
	Inodes      uint64
	Directories uint64
	Entries     uint64
	Xattrs      uint64
	Extents     uint64
	Bytes       uint64 // of data
	Orphans     uint64 // without a name, yet to be deleted
	Trims       uint64 // files of which a part is yet to be deleted
	ProblemsAll uint64
	Problems    []Problem // the first MaxProblemsListed
}

// Check goes through every item of one state of the filesystem and compares what
// belongs together: names with inodes and their count of links, both forms of a
// directory, sizes and what they are sums of. It reads no data: that is for
// store.Check. Problems make no error but stand in the report; an error says that
// Check could not go on. progress, which may be nil, is called now and then.
// Changes go on meanwhile.
//
// It takes memory for one inode at a time, however many there are.
func (f *Tree) Check(ctx context.Context, progress func(CheckProgress)) (CheckReport, error) {
	if !f.options.ReadOnly {
		if err := f.flush(ctx); err != nil {
			return CheckReport{}, fmt.Errorf("check filesystem: %w", wrap(err))
		}
	}
	c := &checking{f: f, ctx: ctx, progress: progress}
	if err := f.view(ctx, c.run); err != nil {
		return c.report, fmt.Errorf("check filesystem: %w", wrap(err))
	}
	return c.report, nil
}

// checking is one run of Check.
type checking struct {
	f        *Tree
	ctx      context.Context
	tx       *store.Tx
	super    super
	progress func(CheckProgress)
	report   CheckReport

	// Sums of a fingerprint of the inode number: of every name there is, and of
	// every name an inode says it has. They are equal if all counts are right,
	// but for a chance of 2^-64.
	named, links uint64

	orphans, trims marks
}

// progressEvery is after how many inodes progress is called.
const progressEvery = 1024

func (c *checking) run(tx *store.Tx) (err error) {
	c.tx = tx
	if c.super, err = getSuper(tx); err != nil {
		return err
	}
	c.orphans = marks{tx: tx, typ: typeOrphan}
	c.trims = marks{tx: tx, typ: typeTrim}
	if err := c.objects(); err != nil {
		return err
	}
	for _, m := range []*marks{&c.orphans, &c.trims} {
		if err := m.past(math.MaxUint64, c.problem); err != nil {
			return err
		}
	}
	if c.report.Inodes != c.super.inodes {
		c.problem(0, "the superblock counts %d inodes, there are %d", c.super.inodes, c.report.Inodes)
	}
	if c.named != c.links && c.report.ProblemsAll == 0 {
		return c.recountLinks()
	}
	return nil
}

// objects checks one object after the other.
func (c *checking) objects() error {
	from, to := store.Key{Object: 1}, store.Key{Object: math.MaxUint64}
	var o *object
	err := c.tx.Scan(from, to, func(k store.Key, v []byte) (bool, error) {
		if o == nil || o.ino != Ino(k.Object) {
			if err := c.finish(o); err != nil {
				return false, err
			}
			o = &object{c: c, ino: Ino(k.Object)}
		}
		return true, o.item(k, v)
	})
	if err != nil {
		return err
	}
	return c.finish(o)
}

func (c *checking) finish(o *object) error {
	if o == nil {
		return nil
	}
	if err := o.finish(); err != nil {
		return err
	}
	if c.progress != nil && c.report.Inodes%progressEvery == 0 {
		c.progress(CheckProgress{c.report.Inodes, c.super.inodes})
	}
	return c.ctx.Err()
}

func (c *checking) problem(i Ino, format string, args ...any) {
	c.report.ProblemsAll++
	if len(c.report.Problems) < MaxProblemsListed {
		c.report.Problems = append(c.report.Problems, Problem{i, c.path(i), fmt.Sprintf(format, args...)})
	}
}

// fingerprint spreads an inode number over 64 bits (the finaliser of splitmix64).
func fingerprint(i Ino) uint64 {
	x := uint64(i) + 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// marks are the items of one type in the superblock's object, which are in the
// order of inodes, so that they can be read along with them.
type marks struct {
	tx   *store.Tx
	typ  uint8
	next uint64
	read bool // next was read
	end  bool // there is none
}

func (m *marks) advance(from uint64) error {
	m.end, m.read = true, true
	return m.tx.Scan(store.Key{Object: superObject, Type: m.typ, Sub: from}, typeEnd(superObject, m.typ),
		func(k store.Key, _ []byte) (bool, error) {
			m.next, m.end = k.Sub, false
			return false, nil
		})
}

// past skips the marks of inodes before i: those are missing.
func (m *marks) past(i uint64, problem func(Ino, string, ...any)) error {
	if !m.read {
		if err := m.advance(0); err != nil {
			return err
		}
	}
	for !m.end && m.next < i {
		problem(Ino(m.next), "it has a mark of type %d and is missing", m.typ)
		if err := m.advance(m.next + 1); err != nil {
			return err
		}
	}
	return nil
}

// has reports whether inode i has the mark. Inodes must be asked for in order.
func (m *marks) has(i Ino, problem func(Ino, string, ...any)) (bool, error) {
	if err := m.past(uint64(i), problem); err != nil || m.end || m.next != uint64(i) {
		return false, err
	}
	return true, m.advance(m.next + 1)
}
