package local

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/point"
)

// A transfer collects what comes in the directory "incoming": the manifest, how far it
// has come, a file N.seg for each segment that is whole, and N.tail for what a segment
// grew by. The volume, if there is one, stays what it is until everything is there and
// durable (arrive.go). The directory's lock is that of whoever receives.
const (
	incomingName   = "incoming"
	progressName   = "progress"
	tailSuffix     = ".tail"
	manifestNew    = manifestName + ".new"
	progressMagic  = "coffprog"
	progressSize   = 8 + 4 + 4 + sha256.Size + 4
	stageSyncBytes = 32 << 20 // is made durable at once, in the background
	stageSyncFiles = 64
)

// ReceiveOptions limit what is received.
type ReceiveOptions struct {
	// MaxBytes bounds the segments of the volume together. 0: the disk does.
	MaxBytes int64
	// Owner is shown to whoever finds the volume in use.
	Owner string
}

// Incoming is a transfer into a directory. It is for one goroutine.
type Incoming struct {
	m    point.Manifest
	sum  [sha256.Size]byte // of the manifest's bytes
	path string
	root *os.File
	dir  *os.File // locked
	tree *tree    // of the volume that grows; nil for one that is whole
	hold *Hold    // keeps others from writing it
	// received is the point that the volume was received as; 0 if there is none.
	received host.PointID

	at       point.Position
	file     *os.File // of the segment at at; nil until something comes
	sync     *stageSync
	syncNote func(*os.File) error // fdatasync; tests look on
}

// Receive begins a transfer of the manifest's point into dir, or goes on with the one
// that was begun there. A whole one needs an empty directory or none, whose parent is
// there (ErrExists else), and one that is relative the volume as it was received:
// ErrDiverged if it is another one or was opened for writing since. ErrOther if another
// transfer was begun, ErrNoSpace if there is not enough room, ErrInUse if somebody
// receives or writes there.
func Receive(ctx context.Context, dir string, m point.Manifest, o ReceiveOptions) (*Incoming, error) {
	in := &Incoming{m: m, sum: sha256.Sum256(m.Append(nil)), path: dir}
	if err := in.begin(ctx, o); err != nil {
		return nil, errors.Join(fmt.Errorf("receive into %q: %w", dir, err), in.release())
	}
	in.sync, in.syncNote = newStageSync(in), fdatasync
	return in, nil
}

// begin makes the place, takes it, and finds out how far it has come.
func (in *Incoming) begin(ctx context.Context, o ReceiveOptions) (err error) {
	if o.MaxBytes > 0 && in.m.VolumeBytes() > o.MaxBytes {
		return fmt.Errorf("the volume has %d bytes, and %d are allowed: %w", in.m.VolumeBytes(), o.MaxBytes, host.ErrNoSpace)
	}
	if in.m.Whole() {
		err = in.openEmpty()
	} else {
		err = in.openVolume(ctx, o.Owner)
	}
	if err == nil {
		err = in.openStage()
	}
	if err == nil && in.m.Whole() {
		err = in.refuseStrangers()
	}
	if err != nil {
		return err
	}
	if in.at, err = in.come(); err != nil {
		return err
	}
	return in.checkRoom()
}

// openEmpty opens the directory for a volume that is whole.
func (in *Incoming) openEmpty() error {
	err := os.Mkdir(in.path, dirMode)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("no parent directory: %w", host.ErrNotFound)
	} else if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if in.root, err = os.OpenFile(in.path, os.O_RDONLY|sysDirectory, 0); isNotDirectory(err) {
		return fmt.Errorf("a file of that name: %w", host.ErrExists)
	} else if err != nil {
		return err
	}
	if exists(in.root, catalogName) {
		return fmt.Errorf("there is a volume: %w", host.ErrExists)
	}
	if !exists(in.root, incomingName) {
		return refuseUnlessEmpty(in.root)
	}
	return nil
}

// refuseStrangers refuses a directory that has more than a transfer leaves.
func (in *Incoming) refuseStrangers() error {
	names, err := readNames(in.root)
	if err != nil {
		return err
	}
	for _, name := range names {
		if name != incomingName && name != segmentsName && name != spareName && !strings.HasPrefix(name, catalogNewPrefix) {
			return fmt.Errorf("directory is not empty, it has %q: %w", name, host.ErrExists)
		}
	}
	return nil
}

// openVolume opens the volume that is to grow, if it is the manifest's earlier point,
// and keeps others from writing it.
func (in *Incoming) openVolume(ctx context.Context, owner string) (err error) {
	if in.tree, err = openTree(in.path); errors.Is(err, ErrPartial) || errors.Is(err, host.ErrNotFound) {
		return fmt.Errorf("what comes goes on from point %v, which is not here: %w: %w", in.m.Since, ErrDiverged, err)
	} else if err != nil {
		return err
	}
	in.root = in.tree.root
	if in.hold, err = in.tree.hold(ctx, owner); err != nil {
		return err
	}
	in.tree.removeLocks(in.hold.epoch)
	r, ok, err := in.tree.received(ctx)
	in.received = r.Point
	switch {
	case err != nil:
		return err
	case !ok:
		return fmt.Errorf("this volume was not received: %w", ErrDiverged)
	case r.Point != in.m.Since:
		return fmt.Errorf("what comes goes on from point %v, and here is %q, %v: %w", in.m.Since, r.Name, r.Point, ErrDiverged)
	case r.Changed:
		return fmt.Errorf("it was opened for writing since %q was received: %w", r.Name, ErrDiverged)
	}
	for _, s := range in.m.Segments {
		if s.From == 0 {
			continue
		}
		if st, err := statAt(in.tree.segments, segmentName(s.ID)); err != nil || !isRegular(st) || st.Size < s.From {
			return damaged(fmt.Errorf("segment %d does not have %d bytes", s.ID, s.From))
		}
	}
	return nil
}

// openStage opens and locks the directory of what comes, with the manifest in it.
func (in *Incoming) openStage() (err error) {
	if err := mkdirAt(in.root, incomingName); err != nil && err != unix.EEXIST {
		return noSpace(err)
	}
	if in.dir, err = openDir(in.root, incomingName); err != nil {
		return err
	}
	if free, err := tryLock(in.dir, unix.LOCK_EX); err != nil {
		return err
	} else if !free {
		return fmt.Errorf("another transfer into it is under way: %w", host.ErrInUse)
	}
	m, err := stagedManifest(in.dir)
	if err == nil && in.received == m.ID {
		// It is in its place, and a crash left this of it.
		if err := removeStaged(in.root, incomingName); err != nil {
			return err
		}
		in.dir.Close()
		return in.openStage()
	}
	switch {
	case errors.Is(err, os.ErrNotExist):
		return in.putManifest()
	case err != nil:
		return fmt.Errorf("%w: %w", ErrOther, err)
	case sha256.Sum256(m.Append(nil)) != in.sum:
		return fmt.Errorf("%q, %v: %w", m.Name, m.ID, ErrOther)
	}
	return nil
}

func stagedManifest(dir *os.File) (m point.Manifest, err error) {
	f, err := openFile(dir, manifestName, unix.O_RDONLY)
	if err != nil {
		return m, err
	}
	defer f.Close()
	return readManifest(f)
}

// putManifest writes the manifest, which is there whole or not at all.
func (in *Incoming) putManifest() error {
	removeAt(in.dir, manifestNew, 0)
	f, err := openFile(in.dir, manifestNew, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL)
	if err != nil {
		return noSpace(err)
	}
	_, err = f.WriteAt(in.m.Append(nil), 0)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = renameOver(in.dir, manifestNew, in.dir, manifestName)
	}
	if err == nil {
		err = in.dir.Sync()
	}
	return noSpace(err)
}

// come is how far the transfer has come: as far as it was noted, and what was noted is
// there.
func (in *Incoming) come() (point.Position, error) {
	noted, err := readProgress(in.dir, in.m, in.sum)
	if err != nil {
		return noted, err
	}
	at := in.m.Start()
	for i, s := range in.m.Segments[:min(noted.Segment+1, len(in.m.Segments))] {
		need := s.Size
		if i == noted.Segment {
			need = noted.Offset
		}
		if need <= s.From {
			continue
		}
		if in.staged(s) < need {
			return at, nil
		}
		at = in.m.After(point.Position{Segment: i, Offset: s.From}, need-s.From)
	}
	return at, nil
}

// staged is up to where a segment has come; also if it is in its place already.
func (in *Incoming) staged(s point.Segment) int64 {
	st, err := statAt(in.dir, stageName(s))
	if err == nil && isRegular(st) {
		return s.From + st.Size
	}
	if in.tree == nil {
		if dir, err := openDir(in.root, segmentsName); err == nil {
			defer dir.Close()
			if st, err := statAt(dir, segmentName(s.ID)); err == nil && isRegular(st) {
				return st.Size
			}
		}
	}
	return 0
}

func stageName(s point.Segment) string {
	if s.From > 0 {
		return strings.TrimSuffix(segmentName(s.ID), segmentSuffix) + tailSuffix
	}
	return segmentName(s.ID)
}

// readProgress reads how far a transfer has come; the start if that is not known.
func readProgress(dir *os.File, m point.Manifest, sum [sha256.Size]byte) (point.Position, error) {
	f, err := openFile(dir, progressName, unix.O_RDONLY)
	if errors.Is(err, os.ErrNotExist) {
		return m.Start(), nil
	} else if err != nil {
		return m.Start(), err
	}
	defer f.Close()
	b := make([]byte, progressSize)
	if _, err := f.ReadAt(b, 0); err != nil || string(b[:8]) != progressMagic ||
		[sha256.Size]byte(b[16:]) != sum || point.Checksum(b[:progressSize-4]) != binary.BigEndian.Uint32(b[progressSize-4:]) {
		return m.Start(), nil
	}
	at := point.Position{Segment: int(binary.BigEndian.Uint32(b[8:])), Offset: int64(binary.BigEndian.Uint32(b[12:]))}
	if !m.Has(at) {
		return m.Start(), nil
	}
	return at, nil
}

// writeProgress notes how far the transfer has come. What it says must be durable; the
// note itself need not be, as long as nothing before where it was noted last changes.
func (in *Incoming) writeProgress(at point.Position) error {
	return in.writeNote(at, func(*os.File) error { return nil })
}

// writeNote writes the note, and has it synced.
func (in *Incoming) writeNote(at point.Position, sync func(*os.File) error) error {
	b := append([]byte(nil), progressMagic...)
	b = binary.BigEndian.AppendUint32(b, uint32(at.Segment))
	b = binary.BigEndian.AppendUint32(b, uint32(at.Offset))
	b = append(b, in.sum[:]...)
	b = binary.BigEndian.AppendUint32(b, point.Checksum(b))
	f, err := openFile(in.dir, progressName, unix.O_RDWR|unix.O_CREAT)
	if err == nil {
		if _, err = f.WriteAt(b, 0); err == nil {
			err = sync(f)
		}
		err = errors.Join(err, f.Close())
	}
	return noSpace(err)
}

// checkRoom says before the first byte comes if there is not room for the last one.
func (in *Incoming) checkRoom() error {
	var st unix.Statfs_t
	if err := retry(func() error { return unix.Fstatfs(int(in.root.Fd()), &st) }); err != nil {
		return err
	}
	need, free := in.m.Bytes()-in.m.Done(in.at), int64(st.Bavail)*st.Bsize
	if need > free {
		return fmt.Errorf("%d bytes are to come, and %d are free: %w", need, free, host.ErrNoSpace)
	}
	return nil
}

// At is how far the transfer has come.
func (in *Incoming) At() point.Position { return in.at }

// Manifest is that of the transfer.
func (in *Incoming) Manifest() point.Manifest { return in.m }

// Rewind goes back to an earlier position, whose bytes come again. What came before it
// is durable then, as the note of it is: after a crash one that says more would vouch
// for what was being written anew.
func (in *Incoming) Rewind(at point.Position) error {
	if !in.m.Has(at) || in.at.Before(at) {
		return fmt.Errorf("rewind from segment %d to %d: %w", in.at.Segment, at.Segment, host.ErrInvalid)
	}
	if at == in.at {
		return nil
	}
	if err := in.Flush(); err != nil {
		return err
	}
	if in.file != nil {
		in.file.Close()
		in.file = nil
	}
	in.at = at
	if err := in.sync.final(in.writeNote(at, in.syncNote)); err != nil {
		return fmt.Errorf("receive into %q: go back to segment %d, byte %d: %w", in.path, at.Segment, at.Offset, err)
	}
	return nil
}

// Write puts the next bytes of the segment at At, and moves on.
func (in *Incoming) Write(ctx context.Context, p []byte) error {
	err := ctx.Err()
	if err == nil {
		err = in.write(p)
	}
	if err != nil {
		return fmt.Errorf("receive into %q: %w", in.path, noSpace(err))
	}
	return nil
}

func (in *Incoming) write(p []byte) (err error) {
	if int64(len(p)) > in.m.Left(in.at) || len(p) == 0 {
		return fmt.Errorf("%d bytes, where %d are missing: %w", len(p), in.m.Left(in.at), host.ErrInvalid)
	}
	s := in.m.Segments[in.at.Segment]
	if in.file == nil {
		if in.file, err = openFile(in.dir, stageName(s), unix.O_RDWR|unix.O_CREAT); err != nil {
			return err
		}
		if err := in.file.Truncate(in.at.Offset - s.From); err != nil {
			return err
		}
	}
	if _, err := in.file.WriteAt(p, in.at.Offset-s.From); err != nil {
		return err
	}
	next := in.m.After(in.at, int64(len(p)))
	if next.Segment == in.at.Segment {
		in.at = next
		return nil
	}
	done := in.file
	in.file, in.at = nil, next
	return in.sync.add(done, s.Size-s.From, next)
}

// Flush makes durable what has come, and notes how far that is.
func (in *Incoming) Flush() error {
	err := in.sync.wait()
	if err == nil && in.file != nil {
		err = in.sync.final(fdatasync(in.file))
	}
	if err == nil {
		err = in.sync.final(in.dir.Sync())
	}
	if err == nil {
		err = in.writeProgress(in.at)
	}
	if err != nil {
		return fmt.Errorf("receive into %q: %w", in.path, noSpace(err))
	}
	return nil
}

// Close ends the transfer, and keeps what has come.
func (in *Incoming) Close() error {
	if in.dir == nil {
		return nil
	}
	return errors.Join(in.Flush(), in.release())
}

func (in *Incoming) release() (err error) {
	if in.file != nil {
		in.file.Close()
	}
	if in.dir != nil {
		in.dir.Close()
	}
	if in.hold != nil {
		err = in.hold.Release()
	}
	if in.root != nil && (in.tree == nil || in.root != in.tree.root) {
		in.root.Close()
	}
	if in.tree != nil {
		in.tree.drop()
	}
	in.file, in.dir, in.hold, in.tree, in.root = nil, nil, nil, nil, nil
	return err
}

// PendingTransfer says which transfer was begun in dir, and how far it has come.
// ErrNotFound if there is none.
func PendingTransfer(dir string) (m point.Manifest, at point.Position, err error) {
	in := &Incoming{path: dir}
	defer in.release()
	if in.root, err = os.OpenFile(dir, os.O_RDONLY|sysDirectory, 0); err == nil {
		in.dir, err = openDir(in.root, incomingName)
	}
	if err == nil {
		in.m, err = stagedManifest(in.dir)
	}
	if errors.Is(err, os.ErrNotExist) || isNotDirectory(err) {
		err = fmt.Errorf("no transfer was begun: %w", host.ErrNotFound)
	}
	if err == nil {
		if !in.m.Whole() { // segments in their places are the earlier point's
			in.tree, err = openTreeOnly(dir)
		}
		in.sum = sha256.Sum256(in.m.Append(nil))
	}
	if err == nil {
		at, err = in.come()
	}
	if err != nil {
		return point.Manifest{}, at, fmt.Errorf("transfer into %q: %w", dir, err)
	}
	return in.m, at, nil
}

// DropTransfer removes what has come of a transfer that was begun in dir, which is as
// before then. ErrNotFound if there is none, ErrInUse if it is under way.
func DropTransfer(dir string) error {
	if err := dropTransfer(dir); err != nil {
		return fmt.Errorf("drop transfer into %q: %w", dir, err)
	}
	return nil
}

func dropTransfer(dir string) error {
	root, err := os.OpenFile(dir, os.O_RDONLY|sysDirectory, 0)
	if errors.Is(err, os.ErrNotExist) || isNotDirectory(err) {
		return host.ErrNotFound
	} else if err != nil {
		return err
	}
	defer root.Close()
	stage, err := lockStage(root)
	if errors.Is(err, os.ErrNotExist) {
		return host.ErrNotFound
	} else if err != nil {
		return err
	}
	defer stage.Close()
	if !exists(root, catalogName) {
		if err := removeStaged(root, segmentsName); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		removeAt(root, spareName, unix.AT_REMOVEDIR)
	}
	if err := removeStaged(root, incomingName); err != nil {
		return err
	}
	return root.Sync()
}

// lockStage opens the directory of what comes, for whoever is alone at it: ErrInUse if
// somebody receives.
func lockStage(root *os.File) (*os.File, error) {
	stage, err := openDir(root, incomingName)
	if err != nil {
		return nil, err
	}
	if free, err := tryLock(stage, unix.LOCK_EX); err != nil || !free {
		stage.Close()
		return nil, cmp.Or(err, host.ErrInUse)
	}
	return stage, nil
}

// removeStaged removes a directory of what came. What else is in it stays.
func removeStaged(root *os.File, name string) error {
	dir, names, err := openList(root, name)
	if err != nil {
		return err
	}
	defer dir.Close()
	for _, n := range names {
		_, segment := parseSegmentName(n)
		if number, ok := strings.CutSuffix(n, tailSuffix); ok {
			_, segment = parseSegmentName(number + segmentSuffix)
		}
		if segment || n == manifestName || n == manifestNew || n == progressName {
			err = errors.Join(err, removeAt(dir, n, 0))
		}
	}
	if err == nil {
		err = removeAt(root, name, unix.AT_REMOVEDIR)
	}
	return err
}
