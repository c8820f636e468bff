package salvage

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/coffer-fs/coffer/fs"
	"github.com/coffer-fs/coffer/store"
)

// Names in the directory.
const (
	filesName = "files"
	foundName = "lost+found"
	listName  = "damage.txt"
	workName  = "work"
	dirsName  = "dirs" // in work: directories that were not made yet
)

// ErrNotEmpty: there is something in the directory already.
var ErrNotEmpty = errors.New("the directory is not empty")

// Options of a run. The zero value is the default.
type Options struct {
	// Snapshot is the name of the snapshot to write. Default: the present state.
	Snapshot string
	// Progress, which may be nil, is called after each file.
	Progress func(Summary)
}

// Summary is what was done.
type Summary struct {
	Files       int64 // of all kinds but directories
	Directories int64
	Bytes       int64
	Nameless    int64 // of Files and Directories, in lost+found
	Damaged     int64 // files that something is missing of
	Lost        int64 // lines of the list that tell of something lost
	Changed     int64 // lines that tell of something that this machine did not take as it was
	Kept        int64 // lines that tell of something lost that snapshots alone need
	Unproven    int64 // lines that tell of something that may be of another history
}

// Whole reports whether everything was salvaged, of the state that was asked for.
func (s Summary) Whole() bool { return s.Lost == 0 }

// run is one run.
type run struct {
	ctx     context.Context
	remains *fs.Remains
	options Options
	root    bool // whoever runs it may give files away
	list    *bufio.Writer
	top     *dir
	work    *dir
	shards  [256]*dir
	dirs    *dir
	found   *dir
	hit     map[fs.Ino]bool // what was told of as damaged, as long as memory allows
	summary Summary
}

// maxHits bounds the damaged files whose names are told too.
const maxHits = 1 << 20

// Run writes what is left of w into path, which is made, or empty. An error says
// that it could not go on; losses are in the summary and in the list.
func Run(ctx context.Context, w *store.Wreck, path string, o Options) (Summary, error) {
	r := &run{ctx: ctx, remains: fs.NewRemains(w), options: o, root: os.Geteuid() == 0, hit: map[fs.Ino]bool{}}
	var err error
	if o.Snapshot != "" {
		var p *store.WreckSnapshot
		if p, err = w.Snapshot(ctx, o.Snapshot); err == nil {
			r.remains = fs.NewSnapshotRemains(p)
		}
	}
	if err == nil {
		err = r.run(w, path)
	}
	if err != nil {
		err = fmt.Errorf("salvage to %q: %w", path, err)
	}
	return r.summary, err
}

// run
//
//  1. writes every file under its number
//  2. makes the tree, and gives files their names
//  3. puts what has no name into lost+found
//  4. lists what else is lost, that snapshots have
func (r *run) run(w *store.Wreck, path string) (err error) {
	list, err := r.begin(path)
	if err != nil {
		return err
	}
	defer func() {
		// Everything that was written is on the disk before the list says so; a
		// target that passes no syncfs on has the list itself at least.
		err = errors.Join(err, r.list.Flush(), unix.Syncfs(int(list.Fd())), list.Sync(), list.Close())
		r.close()
	}()
	r.begun(w.Summary())
	if err := r.remains.Files(r.ctx, &writer{run: r}); err != nil {
		return err
	}
	if err := r.tree(); err != nil {
		return err
	}
	if err := r.leftovers(); err != nil || r.options.Snapshot != "" {
		return err
	}
	return r.keptLosses(w)
}

// keptLosses lists what is lost that snapshots alone need.
func (r *run) keptLosses(w *store.Wreck) error {
	list, lost := w.Snapshots()
	if lost != nil {
		r.kept("there may be more than these %d, and none can be read: %v", len(list), lost)
	}
	return fs.KeptLosses(r.ctx, w, func(snapshot string, l fs.Loss) error {
		r.kept("%q and perhaps older ones: %v", snapshot, l)
		return r.ctx.Err()
	})
}

func (r *run) begin(path string) (*os.File, error) {
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, iofs.ErrExist) {
		return nil, err
	}
	var err error
	if r.top, err = openTop(path); err != nil {
		return nil, err
	}
	names, err := r.top.file.Readdirnames(1)
	if len(names) > 0 {
		return nil, ErrNotEmpty
	} else if err != nil && err != io.EOF {
		return nil, err
	}
	for _, d := range []struct {
		at   **dir
		name string
	}{{&r.work, workName}, {&r.found, foundName}} {
		if *d.at, err = r.top.make(d.name); err != nil {
			return nil, err
		}
	}
	if r.dirs, err = r.work.make(dirsName); err != nil {
		return nil, err
	}
	list, err := r.top.create(listName)
	if err != nil {
		return nil, err
	}
	r.list = bufio.NewWriter(list)
	return list, nil
}

func (r *run) close() {
	for _, d := range append(r.shards[:], r.dirs, r.work, r.found, r.top) {
		if d != nil {
			d.file.Close()
		}
	}
}

// begun tells what is known to be lost at large.
func (r *run) begun(s store.WreckSummary) {
	for _, text := range s.Skipped {
		r.lost("not taken: %s", text)
	}
	if s.Unread > 0 {
		r.lost("%d places could not be read where a newer state may have been, the first: %v", s.Unread, s.UnreadFirst)
	}
	if s.LogLost != "" {
		r.lost("the log ends early, what was changed later is lost: %s", s.LogLost)
	}
	if s.PagesLost > 0 {
		r.lost("%d pages of the segment table are lost", s.PagesLost)
	}
	switch {
	case len(s.Unproven) == 0:
	case s.Taken:
		r.unproven("segments %d are taken at their own word, since the table is damaged: a host that kept a fork of this volume could have put some of that in, and then files, and parts of one file, are of two histories", s.Unproven)
	default:
		r.lost("what is in segments %d, for which nothing speaks but their own word, since the table is damaged", s.Unproven)
	}
}

// lost puts a loss on the list.
func (r *run) lost(format string, args ...any) {
	r.summary.Lost++
	fmt.Fprintf(r.list, "lost: "+format+"\n", args...) // an error stays until Flush
}

// changed puts something on the list that is not what it was, and no loss of data.
func (r *run) changed(format string, args ...any) {
	r.summary.Changed++
	fmt.Fprintf(r.list, "changed: "+format+"\n", args...)
}

// unproven puts on the list what nothing proves to be of this state.
func (r *run) unproven(format string, args ...any) {
	r.summary.Unproven++
	fmt.Fprintf(r.list, "unproven: "+format+"\n", args...)
}

// kept puts a loss on the list that snapshots have.
func (r *run) kept(format string, args ...any) {
	r.summary.Kept++
	fmt.Fprintf(r.list, "of snapshots lost: "+format+"\n", args...)
}

// hits takes note of a damaged file.
func (r *run) hits(i fs.Ino) {
	if !r.hit[i] && len(r.hit) < maxHits {
		r.hit[i] = true
		r.summary.Damaged++
	}
}

// shard is the directory in work for a file.
func (r *run) shard(i fs.Ino) (*dir, error) {
	n := i % 256
	if r.shards[n] == nil {
		d, err := r.work.make(strconv.FormatUint(uint64(n), 16))
		if err != nil {
			return nil, err
		}
		r.shards[n] = d
	}
	return r.shards[n], nil
}

func number(i fs.Ino) string { return strconv.FormatUint(uint64(i), 10) }

// dir is a directory that is held open. All that is done in it is relative to it,
// and follows no link.
type dir struct{ file *os.File }

func openTop(path string) (*dir, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY, 0)
	return &dir{f}, err
}

func (d *dir) fd() int { return int(d.file.Fd()) }

// make makes a directory, which only we can look into until it is given its mode.
func (d *dir) make(name string) (*dir, error) {
	if err := unix.Mkdirat(d.fd(), name, 0o700); err != nil {
		return nil, err
	}
	return d.open(name)
}

func (d *dir) open(name string) (*dir, error) {
	fd, err := unix.Openat(d.fd(), name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return &dir{os.NewFile(uintptr(fd), name)}, nil
}

// create makes a file.
func (d *dir) create(name string) (*os.File, error) {
	fd, err := unix.Openat(d.fd(), name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

func (d *dir) has(name string) bool {
	var st unix.Stat_t
	return unix.Fstatat(d.fd(), name, &st, unix.AT_SYMLINK_NOFOLLOW) == nil
}
