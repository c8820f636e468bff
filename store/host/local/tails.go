package local

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/coffer-fs/coffer/store/host"
)

// A segment's file has its full room from the beginning, and what lies behind the
// last append may be anything. Where that was is noted in the file "tails", so that
// a point has the bytes of a volume and nothing else:
//
//	0   8  "cofftail"
//	8   8  epoch of the writer who notes; 0: nothing here counts
//	16  8  1: that writer gave the volume back, and all of this is durable
//	24  16 boot during which it was written
//	40  24 0
//	64     slots of 16: number of a segment (0: free), where its appends ended;
//	       with the highest bit set, one was under way, and they may end anywhere
//
// A writer notes before an append that it is under way, and after it the tail, in the
// page cache: of a process that is killed it is known what was written, or that it is
// not. It matters: whoever opens the volume next may find the whole of an append that
// nobody was told of, and build on it. A crash of the machine may take notes away, and
// then they are of another boot and do not count; nor do they if the epoch is not that
// of the catalog. What is not noted is taken to reach to the end of the file.
const (
	tailsName     = "tails"
	tailsMagic    = "cofftail"
	tailsHead     = 64
	tailSlotBytes = 16
	maxTailSlots  = host.MaxPointSegments
	tailUnderWay  = 0x80 // in the first byte of where appends ended
)

// tails are the notes of one writer. They are changed only behind the fence.
type tails struct {
	file *os.File

	mu    sync.Mutex
	slots map[host.SegmentID]int64 // where the slot is; guarded by mu
	ends  map[host.SegmentID]int64 // guarded by mu
	free  []int64                  // guarded by mu
	next  int64                    // the first slot that was never used; guarded by mu
	ended bool                     // nothing is noted any more; guarded by mu
}

// beginTails takes up the notes of the writer before, for one of a new epoch. The
// fence is locked.
func (t *tree) beginTails(before, epoch uint64) (*tails, error) {
	known := t.readTails(before)
	file, err := openFile(t.root, tailsName, unix.O_RDWR|unix.O_CREAT)
	if err != nil {
		return nil, err
	}
	n := &tails{file: file, slots: map[host.SegmentID]int64{}, ends: known, next: tailsHead}
	if err := n.rewrite(t, epoch); err != nil {
		file.Close()
		return nil, err
	}
	return n, nil
}

// rewrite writes what is known of segments that are still there. The head comes
// last: until then nothing counts.
func (n *tails) rewrite(t *tree, epoch uint64) error {
	if _, err := n.file.WriteAt(make([]byte, tailsHead), 0); err != nil {
		return err
	}
	var b []byte
	for id, end := range n.ends {
		if !exists(t.segments, segmentName(id)) {
			delete(n.ends, id)
			continue
		}
		n.slots[id] = n.next
		n.next += tailSlotBytes
		b = binary.BigEndian.AppendUint64(b, uint64(id))
		b = binary.BigEndian.AppendUint64(b, uint64(end))
	}
	if err := n.file.Truncate(tailsHead + int64(len(b))); err != nil {
		return err
	}
	if _, err := n.file.WriteAt(b, tailsHead); err != nil {
		return err
	}
	return n.writeHead(epoch, false)
}

func (n *tails) writeHead(epoch uint64, clean bool) error {
	head := make([]byte, tailsHead)
	copy(head, tailsMagic)
	binary.BigEndian.PutUint64(head[8:], epoch)
	if clean {
		head[23] = 1
	}
	boot := bootID()
	copy(head[24:], boot[:])
	_, err := n.file.WriteAt(head, 0)
	return err
}

// set notes that the appends to a segment end there.
func (n *tails) set(id host.SegmentID, end int64) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ended {
		return nil
	}
	at, ok := n.slots[id]
	switch {
	case ok:
	case len(n.free) > 0:
		at, n.free = n.free[len(n.free)-1], n.free[:len(n.free)-1]
	case n.next >= tailsHead+maxTailSlots*tailSlotBytes:
		return fmt.Errorf("%d segments: %w", maxTailSlots, host.ErrNoSpace)
	default:
		at = n.next
		n.next += tailSlotBytes
	}
	n.slots[id], n.ends[id] = at, end
	b := binary.BigEndian.AppendUint64(nil, uint64(id))
	_, err := n.file.WriteAt(binary.BigEndian.AppendUint64(b, uint64(end)), at)
	if isNoSpace(err) {
		err = fmt.Errorf("%w: %w", host.ErrNoSpace, err)
	}
	return err
}

// begin notes that an append to a segment is under way.
func (n *tails) begin(id host.SegmentID) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	at, ok := n.slots[id]
	if !ok || n.ended {
		return nil
	}
	delete(n.ends, id)
	_, err := n.file.WriteAt([]byte{tailUnderWay}, at+8)
	return err
}

// noted reports where the appends to a segment ended, if that is known.
func (n *tails) noted(id host.SegmentID) (end int64, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	end, ok = n.ends[id]
	return end, ok
}

// clear forgets a segment.
func (n *tails) clear(id host.SegmentID) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	at, ok := n.slots[id]
	if !ok || n.ended {
		return nil
	}
	delete(n.slots, id)
	delete(n.ends, id)
	n.free = append(n.free, at)
	_, err := n.file.WriteAt(make([]byte, tailSlotBytes), at)
	return err
}

// end makes the notes durable. The writer notes nothing afterwards.
func (n *tails) end(epoch uint64) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ended {
		return nil
	}
	n.ended = true
	err := fdatasync(n.file)
	if err == nil {
		err = n.writeHead(epoch, true)
	}
	if err == nil {
		err = fdatasync(n.file)
	}
	return err
}

func (n *tails) close() { n.file.Close() }

// readTails reads what counts of the notes. The fence is locked, or the caller
// bears with notes that change.
func (t *tree) readTails(epoch uint64) map[host.SegmentID]int64 {
	ends := map[host.SegmentID]int64{}
	f, err := openFile(t.root, tailsName, unix.O_RDONLY)
	if err != nil {
		return ends
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.Size() < tailsHead || info.Size() > tailsHead+maxTailSlots*tailSlotBytes {
		return ends
	}
	b := make([]byte, info.Size())
	if _, err := f.ReadAt(b, 0); err != nil || !tailsCount(b, epoch) {
		return ends
	}
	for b = b[tailsHead:]; len(b) >= tailSlotBytes; b = b[tailSlotBytes:] {
		id, end := host.SegmentID(binary.BigEndian.Uint64(b)), binary.BigEndian.Uint64(b[8:])
		if id == 0 || b[8]&tailUnderWay != 0 {
			continue
		}
		if _, twice := ends[id]; twice || id > host.MaxSegmentID || end > host.MaxSegmentSize {
			return map[host.SegmentID]int64{}
		}
		ends[id] = int64(end)
	}
	return ends
}

// tailsCount reports whether notes are those of the volume's last writer, and of
// this boot or durable.
func tailsCount(head []byte, epoch uint64) bool {
	boot := bootID()
	return string(head[:8]) == tailsMagic && epoch != 0 && binary.BigEndian.Uint64(head[8:]) == epoch &&
		(binary.BigEndian.Uint64(head[16:]) == 1 || bytes.Equal(head[24:40], boot[:]))
}

// bootID names this boot of the machine. Where that is not to be had, it is one
// that nobody else has.
var bootID = sync.OnceValue(func() (id [16]byte) {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	b, hexErr := hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(string(text)), "-", ""))
	if err != nil || hexErr != nil || len(b) != len(id) {
		rand.Read(id[:])
		return id
	}
	return [16]byte(b)
})
