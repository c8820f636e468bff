// Package mount shows a filesystem to the kernel through FUSE. It translates and
// nothing else: what a call means is decided in package fs.
//
// A mount shows plaintext to the machine it runs on. It is for debugging and for
// simulated enclaves; package coffer refuses it to release enclaves.
//
// Filesystems that are attached to directories of another (fs.FS.Attach) are shown
// there, in the same mount: a mount of their own below it would have to be unmounted
// first. Node ids of the kernel are inode numbers, which are never used twice, with the
// index of the tree above them, so all that is remembered for the kernel's sake is how
// often it was told of each inode.
// It opens files without asking, and may cache names, attributes and data for as long
// as it likes: nobody else changes the filesystem while it is mounted.
package mount

import (
	"errors"
	"fmt"
	"log"
	"log/slog"
	"os"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/coffer-fs/coffer/fs"
)

// Errors of Mount.
var (
	// ErrMountPoint: there is no directory to mount on.
	ErrMountPoint = errors.New("cannot mount there")
	// ErrBusy: something is mounted there already, or is what a mount whose
	// server died left behind.
	ErrBusy = errors.New("mount point is busy")
	// ErrNotAllowed: this user, who is not root, can't mount there, or not for others.
	ErrNotAllowed = errors.New("this user may not mount")
)

// Options of a mount. The zero value is the default.
type Options struct {
	// AllowOther lets other users than the one who mounted it use it;
	// permissions are checked in any case. Root can always allow it.
	AllowOther bool
	// ReadOnly mounts read-only.
	ReadOnly bool
	// NoACL leaves access control lists alone, as ext4 does with noacl: they can be
	// neither seen nor set, and modes alone say who may do what. It spares the kernel
	// a request for each file that it comes to know.
	NoACL bool
	// Name is shown as the source of the mount. Default: coffer.
	Name string
	// Logger receives what FUSE has to say. Default: silent.
	Logger *slog.Logger
	// Debug logs every request, with names: for debugging only.
	Debug bool
}

const (
	maxWrite      = 1 << 20
	maxBackground = 64
	// cacheFor is how long the kernel may keep what only it changes.
	cacheFor = 24 * time.Hour
)

// Mount is a mounted filesystem.
type Mount struct {
	server *fuse.Server
	bridge *bridge
	point  string
}

// New mounts f on a directory, with what is attached to it, and serves it until it is
// unmounted.
func New(f *fs.FS, point string, o Options) (*Mount, error) {
	if err := Check(point); err != nil {
		return nil, err
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Name == "" {
		o.Name = "coffer"
	}
	fuseOptions := &fuse.MountOptions{
		Name:                     "coffer",
		FsName:                   o.Name,
		AllowOther:               o.AllowOther,
		Options:                  []string{"default_permissions"},
		MaxWrite:                 maxWrite,
		MaxBackground:            maxBackground,
		MaxReadAhead:             maxWrite,
		EnableSymlinkCaching:     true,
		ExplicitDataCacheControl: true,
		DirectMount:              os.Getuid() == 0,
		DirectMountFlags:         syscall.MS_NOSUID | syscall.MS_NODEV,
		Logger:                   log.New(logWriter{o.Logger}, "", 0),
		Debug:                    o.Debug,
		EnableAcl:                !o.NoACL,
		// There is no file to splice from, and finding that out takes four
		// calls of the system for every read.
		DisableSplice:     true,
		ExtraCapabilities: fuse.CAP_WRITEBACK_CACHE | fuse.CAP_HANDLE_KILLPRIV_V2 | fuse.CAP_DONT_MASK,
	}
	if o.ReadOnly {
		fuseOptions.Options = append(fuseOptions.Options, "ro")
		fuseOptions.DirectMountFlags |= syscall.MS_RDONLY
	}
	b := newBridge(f, o.Logger)
	b.noACL = o.NoACL
	server, err := fuse.NewServer(b, point, fuseOptions)
	if err != nil {
		return nil, fmt.Errorf("mount on %q: %w", point, explain(err, o))
	}
	go server.Serve()
	if err := server.WaitMount(); err != nil {
		return nil, fmt.Errorf("mount on %q: %w", point, errors.Join(err, server.Unmount()))
	}
	if err := raiseReadAhead(point); err != nil {
		o.Logger.Debug("read-ahead stays small", "error", err)
	}
	return &Mount{server, b, point}, nil
}

// Wait returns when the filesystem was unmounted, by whomever, and no file is
// open any more: a kernel that unmounts does not tell of those closed last.
func (m *Mount) Wait() {
	m.server.Wait()
	for _, br := range m.bridge.branches {
		br.handles.closeAll()
	}
}

// Unmount unmounts the filesystem. ErrBusy while it is in use.
func (m *Mount) Unmount() error {
	if err := m.server.Unmount(); err != nil {
		return fmt.Errorf("unmount %q: %w: %w", m.point, ErrBusy, err)
	}
	return nil
}

// Check says what is wrong with a mount point, if anything is: ErrMountPoint,
// ErrBusy.
func Check(point string) error {
	if err := checkPoint(point); err != nil {
		return fmt.Errorf("mount on %q: %w", point, err)
	}
	return nil
}

func checkPoint(point string) error {
	st, err := os.Stat(point)
	switch {
	case errors.Is(err, syscall.ENOTCONN):
		return fmt.Errorf("%w: the server of an earlier mount died and left it there", ErrBusy)
	case err != nil:
		return fmt.Errorf("%w: %w", ErrMountPoint, err)
	case !st.IsDir():
		return fmt.Errorf("%w: not a directory", ErrMountPoint)
	}
	up, err := os.Stat(point + "/..")
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMountPoint, err)
	}
	if device(st) != device(up) {
		return fmt.Errorf("%w: something is mounted there already", ErrBusy)
	}
	return nil
}

func device(i os.FileInfo) uint64 { return i.Sys().(*syscall.Stat_t).Dev }

// logWriter gives lines of a log.Logger to an slog.Logger.
type logWriter struct{ l *slog.Logger }

func (w logWriter) Write(p []byte) (int, error) {
	w.l.Debug("fuse", "message", string(p))
	return len(p), nil
}
