package local

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
)

// bbolt trusts the pages of its file: a loop in its tree overflows the stack,
// which no recover catches, and a wrong length reads beyond the mapping. So the
// pages that a transaction can reach are checked first, by the layout of bbolt
// 1.5 (internal/common), in bounded time and memory:
//
//	page     id 8, flags 2, count 2, overflow 4, then the elements
//	meta     magic 4, version 4, page size 4, flags 4, root 8, sequence 8,
//	         freelist 8, high water mark 8, transaction 8, checksum 8
//	branch   pos 4, key size 4, page 8       pos counts from the element
//	leaf     flags 4, pos 4, key size 4, value size 4
//	bucket   root 8 (0: a leaf page follows), sequence 8

const (
	pageSize       = 4096
	pageHeaderSize = 16
	elementSize    = 16
	bucketSize     = 16
	metaSize       = 64

	metaMagic   = 0xED0CDAED
	metaVersion = 2

	branchFlag   = 0x01
	leafFlag     = 0x02
	freelistFlag = 0x10

	maxTreeDepth = 16
	noFreelist   = ^uint64(0)
)

var native = binary.NativeEndian

type meta struct {
	root, freelist, highWater, transaction uint64
}

type page struct {
	flags uint16
	count int
	data  []byte // the whole page
}

// pageChecker walks the pages of one catalog. Each may be reached only once.
type pageChecker struct {
	file      io.ReaderAt
	highWater uint64
	seen      []bool
	free      []uint64 // pages that nothing refers to
}

// checkPages checks the catalog and returns how many bytes of it are in use.
func checkPages(file io.ReaderAt, size int64) (used int64, err error) {
	c, err := walkPages(file, size)
	if err != nil {
		return 0, damaged(err)
	}
	return int64(c.highWater) * pageSize, nil
}

// walkPages checks the catalog and tells its pages apart.
func walkPages(file io.ReaderAt, size int64) (*pageChecker, error) {
	if size < 4*pageSize || size > catalogMaxBytes {
		return nil, fmt.Errorf("catalog of %d bytes", size)
	}
	m, err := readMeta(file)
	if err != nil {
		return nil, err
	}
	if m.highWater < 4 || m.highWater > uint64(size/pageSize) {
		return nil, fmt.Errorf("%d pages in %d bytes", m.highWater, size)
	}
	c := &pageChecker{file: file, highWater: m.highWater, seen: make([]bool, m.highWater)}
	if err := c.tree(m.root, 0); err != nil {
		return nil, err
	}
	return c, c.freelist(m.freelist)
}

// readMeta picks the meta page that bbolt will pick: the newer valid one.
func readMeta(file io.ReaderAt) (best meta, err error) {
	var p [2 * pageSize]byte
	if _, err := file.ReadAt(p[:], 0); err != nil {
		return meta{}, err
	}
	first, ok0, err0 := parseMeta(p[:pageSize])
	second, ok1, err1 := parseMeta(p[pageSize:])
	if err := errors.Join(err0, err1); err != nil {
		return meta{}, err
	}
	for _, off := range []int{pageSize / 4, pageSize / 2} {
		// bbolt looks here for other page sizes if the first one is invalid.
		if _, ok, _ := parseMeta(p[off:]); ok && !ok0 {
			return meta{}, fmt.Errorf("a meta page at %d", off)
		}
	}
	switch {
	case ok0 && (!ok1 || first.transaction >= second.transaction):
		return first, nil
	case ok1:
		return second, nil
	}
	return meta{}, errors.New("no valid meta page")
}

// parseMeta says whether bbolt would take p for a meta page. The error is for
// one that it would take and that is not ours.
func parseMeta(p []byte) (m meta, ok bool, err error) {
	p = p[pageHeaderSize:][:metaSize]
	sum := fnv.New64a()
	sum.Write(p[:metaSize-8])
	if native.Uint32(p) != metaMagic || native.Uint32(p[4:]) != metaVersion || native.Uint64(p[metaSize-8:]) != sum.Sum64() {
		return meta{}, false, nil
	}
	if got := native.Uint32(p[8:]); got != pageSize {
		return meta{}, true, fmt.Errorf("pages of %d bytes", got)
	}
	return meta{
		root:        native.Uint64(p[16:]),
		freelist:    native.Uint64(p[32:]),
		highWater:   native.Uint64(p[40:]),
		transaction: native.Uint64(p[48:]),
	}, true, nil
}

// page reads page id with its overflow, and marks it as seen.
func (c *pageChecker) page(id uint64) (page, error) {
	if id < 2 || id >= c.highWater {
		return page{}, fmt.Errorf("page %d of %d", id, c.highWater)
	}
	var head [pageHeaderSize]byte
	if _, err := c.file.ReadAt(head[:], int64(id)*pageSize); err != nil {
		return page{}, fmt.Errorf("page %d: %w", id, err)
	}
	overflow := uint64(native.Uint32(head[12:]))
	if native.Uint64(head[:]) != id || overflow >= c.highWater-id {
		return page{}, fmt.Errorf("page %d calls itself %d with %d more", id, native.Uint64(head[:]), overflow)
	}
	for n := id; n <= id+overflow; n++ {
		if err := c.mark(n); err != nil {
			return page{}, err
		}
	}
	p := page{flags: native.Uint16(head[8:]), count: int(native.Uint16(head[10:])), data: make([]byte, (overflow+1)*pageSize)}
	if _, err := c.file.ReadAt(p.data, int64(id)*pageSize); err != nil {
		return page{}, fmt.Errorf("page %d: %w", id, err)
	}
	return p, nil
}

func (c *pageChecker) mark(id uint64) error {
	if id < 2 || id >= c.highWater || c.seen[id] {
		return fmt.Errorf("page %d of %d is outside or used twice", id, c.highWater)
	}
	c.seen[id] = true
	return nil
}

// tree checks the pages under id.
func (c *pageChecker) tree(id uint64, depth int) error {
	if depth > maxTreeDepth {
		return fmt.Errorf("page %d lies too deep", id)
	}
	p, err := c.page(id)
	if err != nil {
		return err
	}
	switch {
	case p.flags == branchFlag && p.count > 0:
		err = c.branch(p, depth)
	case p.flags == leafFlag:
		err = c.leaf(p, depth, false)
	default:
		return fmt.Errorf("page %d has flags %#x and %d elements", id, p.flags, p.count)
	}
	if err != nil {
		return fmt.Errorf("page %d: %w", id, err)
	}
	return nil
}

func (c *pageChecker) branch(p page, depth int) error {
	var last []byte
	for i := range p.count {
		e, at, err := p.element(i)
		if err != nil {
			return err
		}
		key, err := p.bytes(at, native.Uint32(e), native.Uint32(e[4:]), 0)
		if err != nil {
			return err
		}
		if i > 0 && bytes.Compare(last, key) >= 0 {
			return fmt.Errorf("element %d is out of order", i)
		}
		last = key
		if err := c.tree(native.Uint64(e[8:]), depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (c *pageChecker) leaf(p page, depth int, inline bool) error {
	var last []byte
	for i := range p.count {
		e, at, err := p.element(i)
		if err != nil {
			return err
		}
		keySize, valueSize := native.Uint32(e[8:]), native.Uint32(e[12:])
		both, err := p.bytes(at, native.Uint32(e[4:]), keySize, valueSize)
		if err != nil {
			return err
		}
		key, value := both[:keySize], both[keySize:]
		if i > 0 && bytes.Compare(last, key) >= 0 {
			return fmt.Errorf("element %d is out of order", i)
		}
		last = key
		switch flags := native.Uint32(e); {
		case flags == 0:
		case flags == 1 && !inline:
			err = c.bucket(value, depth)
		default:
			err = fmt.Errorf("element %d has flags %#x", i, flags)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// bucket checks the value of a bucket's element.
func (c *pageChecker) bucket(v []byte, depth int) error {
	if len(v) < bucketSize {
		return fmt.Errorf("bucket of %d bytes", len(v))
	}
	if root := native.Uint64(v); root != 0 {
		return c.tree(root, depth+1)
	}
	v = v[bucketSize:]
	if len(v) < pageHeaderSize {
		return fmt.Errorf("inline bucket of %d bytes", len(v))
	}
	p := page{flags: native.Uint16(v[8:]), count: int(native.Uint16(v[10:])), data: v}
	if p.flags != leafFlag {
		return fmt.Errorf("inline bucket with flags %#x", p.flags)
	}
	return c.leaf(p, depth+1, true)
}

// freelist checks the list of free pages, which must be there: without one
// bbolt scans everything in a goroutine where its panics cannot be caught.
func (c *pageChecker) freelist(id uint64) error {
	if id == noFreelist {
		return errors.New("no list of free pages")
	}
	p, err := c.page(id)
	if err != nil {
		return err
	}
	ids := p.data[pageHeaderSize:]
	count := uint64(p.count)
	if count == 0xFFFF {
		count, ids = native.Uint64(ids), ids[8:]
	}
	if p.flags != freelistFlag || count > uint64(len(ids)/8) {
		return fmt.Errorf("page %d is no list of %d free pages", id, count)
	}
	for i := range count {
		free := native.Uint64(ids[8*i:])
		if err := c.mark(free); err != nil {
			return fmt.Errorf("free pages: %w", err)
		}
		c.free = append(c.free, free)
	}
	return nil
}

// element returns the i-th element of a page and where it lies.
func (p page) element(i int) (e []byte, at int, err error) {
	at = pageHeaderSize + i*elementSize
	if at+elementSize > len(p.data) {
		return nil, 0, fmt.Errorf("element %d lies outside", i)
	}
	return p.data[at : at+elementSize], at, nil
}

// bytes returns what the element at that place points to.
func (p page) bytes(at int, pos, keySize, valueSize uint32) ([]byte, error) {
	from := int64(at) + int64(pos)
	to := from + int64(keySize) + int64(valueSize)
	if to > int64(len(p.data)) {
		return nil, fmt.Errorf("element points to %d..%d of %d bytes", from, to, len(p.data))
	}
	return p.data[from:to], nil
}
