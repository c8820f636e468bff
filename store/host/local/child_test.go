package local_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/local"
)

// Tests that need another process run this binary again, as one of these. A
// child says each line of its story on stdout, and ends at the end of its stdin.
var children = map[string]func(dir string) error{
	"hold":   holdVolume,
	"write":  writeUntilFenced,
	"full":   fillFileSystem,
	"come":   receiveFull,
	"points": pointsUntilKilled,
	"large":  appendUntilKilled,
}

const childVariable = "COFFER_LOCAL_TEST_CHILD"

func TestMain(m *testing.M) {
	if name := os.Getenv(childVariable); name != "" {
		if err := children[name](os.Args[1]); err != nil {
			fmt.Println("child:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// child is a running child.
type child struct {
	*exec.Cmd
	t     *testing.T
	lines *bufio.Scanner
	stdin io.Closer
}

func startChild(t *testing.T, name, dir string, attr *syscall.SysProcAttr) *child {
	t.Helper()
	cmd := exec.Command(os.Args[0], dir)
	cmd.Env = append(os.Environ(), childVariable+"="+name, "GORACE=atexit_sleep_ms=0")
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = attr
	stdin, err := cmd.StdinPipe()
	must(t, err)
	stdout, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return &child{cmd, t, bufio.NewScanner(stdout), stdin}
}

// says expects the child's next line.
func (c *child) says(want string) {
	c.t.Helper()
	if !c.lines.Scan() || c.lines.Text() != want {
		c.t.Fatalf("child says %q, want %q", c.lines.Text(), want)
	}
}

// ends expects the child to end well.
func (c *child) ends() {
	c.t.Helper()
	c.stdin.Close()
	must(c.t, c.Wait())
}

func holdVolume(dir string) error {
	v, err := local.Open(dir)
	if err != nil {
		return err
	}
	w, err := v.Acquire(ctx, host.AcquireOptions{Owner: "the child"})
	if err != nil {
		return err
	}
	if err := w.Create(ctx, 1, capacity); err != nil {
		return err
	}
	if err := w.Append(ctx, 1, 0, []byte("child")); err != nil {
		return err
	}
	fmt.Println("ready")
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// writeUntilFenced appends and syncs all the time, from three goroutines.
func writeUntilFenced(dir string) error {
	v, err := local.Open(dir)
	if err != nil {
		return err
	}
	w, err := v.Acquire(ctx, host.AcquireOptions{})
	if err != nil {
		return err
	}
	ended := make(chan error)
	for id := range host.SegmentID(3) {
		if err := w.Create(ctx, id+1, 32<<20); err != nil {
			return err
		}
		go func() {
			for off := int64(0); ; off += 512 {
				if err := w.Append(ctx, id+1, off, make([]byte, 512)); err != nil {
					ended <- err
					return
				}
			}
		}()
	}
	fmt.Println("ready")
	for range 3 {
		if err := <-ended; !errors.Is(err, host.ErrFenced) {
			return err
		}
	}
	fmt.Println("fenced")
	return nil
}

func TestKilledWriterLetsGo(t *testing.T) {
	dir := newVolume(t)
	c := startChild(t, "hold", dir, nil)
	c.says("ready")
	v := open(t, dir)
	_, err := v.Acquire(ctx, host.AcquireOptions{})
	want := fmt.Sprintf("process %d (\"the child\")", c.Process.Pid)
	if !errors.Is(err, host.ErrInUse) || !strings.Contains(err.Error(), want) {
		t.Fatalf("error %v, want %q with %q", err, host.ErrInUse, want)
	}
	if infos, err := v.Segments(ctx); err != nil || len(infos) != 1 {
		t.Errorf("segments of a volume in use: %v, %v", infos, err)
	}
	must(t, c.Process.Kill())
	_ = c.Wait()
	w := acquire(t, dir)
	p := make([]byte, 5)
	if _, err := w.Read(ctx, 1, 0, p); err != nil || string(p) != "child" {
		t.Errorf("read what the killed writer left: %q, %v", p, err)
	}
	must(t, w.Sync(ctx, 1))
}

func TestTakeoverFromAnotherProcess(t *testing.T) {
	dir := newVolume(t)
	c := startChild(t, "write", dir, nil)
	c.says("ready")
	w, err := open(t, dir).Acquire(ctx, host.AcquireOptions{Takeover: true})
	must(t, err)
	c.says("fenced")
	c.ends()
	must(t, w.Create(ctx, 9, capacity))
	must(t, w.Release(ctx))
	for _, name := range names(t, dir) {
		if strings.HasPrefix(name, "lock.") {
			t.Errorf("lock file %s is left", name)
		}
	}
}

// These run on a small tmpfs, in a child with mounts of its own.
func TestFullFileSystem(t *testing.T)          { onSmallFileSystem(t, "full") }
func TestReceiveOnFullFileSystem(t *testing.T) { onSmallFileSystem(t, "come") }

func onSmallFileSystem(t *testing.T, child string) {
	attr := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if os.Getuid() != 0 {
		attr.Cloneflags |= syscall.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	c := startChild(t, child, t.TempDir(), attr)
	c.says("done")
	c.ends()
}

func fillFileSystem(mount string) error {
	if err := smallFileSystem(mount); err != nil {
		return err
	}
	dir := filepath.Join(mount, "volume")
	if err := local.Create(dir); err != nil {
		return err
	}
	v, err := local.Open(dir)
	if err != nil {
		return err
	}
	w, err := v.Acquire(ctx, host.AcquireOptions{})
	if err != nil {
		return err
	}
	for _, check := range []func(string, *local.Volume, host.Writer) error{fullCreate, fullAppend, fullSpares, fullCatalog, fullVolume} {
		if err := check(mount, v, w); err != nil {
			return err
		}
	}
	fmt.Println("done")
	return nil
}

// fullCreate: the fourth MiB does not fit beside the catalog, and leaves nothing.
func fullCreate(mount string, v *local.Volume, w host.Writer) error {
	for id := range host.SegmentID(3) {
		if err := w.Create(ctx, id+1, capacity); err != nil {
			return err
		}
	}
	if err := w.Create(ctx, 4, capacity); !errors.Is(err, host.ErrNoSpace) {
		return fmt.Errorf("create on a full file system: %v", err)
	}
	if infos, err := v.Segments(ctx); err != nil || len(infos) != 3 {
		return fmt.Errorf("segments after that: %v, %v", infos, err)
	}
	if u, err := v.Usage(ctx); err != nil || u.SegmentBytes != 3*capacity || u.FreeBytes >= capacity {
		return fmt.Errorf("usage: %+v, %v", u, err)
	}
	return nil
}

// fullAppend: room that was set aside is there, whatever others take.
func fullAppend(mount string, v *local.Volume, w host.Writer) error {
	hog, err := os.Create(filepath.Join(mount, "hog"))
	if err != nil {
		return err
	}
	defer os.Remove(hog.Name())
	defer hog.Close()
	for err == nil {
		_, err = hog.Write(make([]byte, 4096))
	}
	if !errors.Is(err, unix.ENOSPC) {
		return err
	}
	for id := range host.SegmentID(3) {
		if err := w.Append(ctx, id+1, 0, make([]byte, capacity)); err != nil {
			return err
		}
	}
	return w.Sync(ctx, 1, 2, 3)
}

// fullSpares: spares of another size make room.
func fullSpares(mount string, v *local.Volume, w host.Writer) error {
	for id := range host.SegmentID(3) {
		if err := w.Delete(ctx, id+1); err != nil {
			return err
		}
	}
	if u, err := v.Usage(ctx); err != nil || u.SpareBytes != 3*capacity {
		return fmt.Errorf("usage: %+v, %v", u, err)
	}
	return w.Create(ctx, 5, 3*capacity)
}

// fullCatalog: a record that does not fit is refused, and the writer goes on.
func fullCatalog(mount string, v *local.Volume, w host.Writer) error {
	for i := range 1000 {
		_, err := w.Swap(ctx, fmt.Sprint("r", i), "", make([]byte, host.MaxRecordSize))
		if errors.Is(err, host.ErrNoSpace) {
			_, err := v.Get(ctx, fmt.Sprint("r", i))
			if !errors.Is(err, host.ErrNotFound) {
				return fmt.Errorf("get a record that was refused: %v", err)
			}
			return w.Delete(ctx, 5)
		} else if err != nil {
			return err
		}
	}
	return errors.New("records fill no file system")
}

// fullVolume: a volume that does not fit leaves nothing.
func fullVolume(mount string, v *local.Volume, w host.Writer) error {
	hog := filepath.Join(mount, "hog")
	for _, size := range []int{1 << 20, 4096} {
		f, err := os.OpenFile(hog, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
		if err != nil {
			return err
		}
		for err == nil {
			_, err = f.Write(make([]byte, size))
		}
		f.Close()
	}
	if err := os.Truncate(hog, fileSize(hog)-100<<10); err != nil {
		return err
	}
	dir := filepath.Join(mount, "second")
	if err := local.Create(dir); !errors.Is(err, host.ErrNoSpace) {
		return fmt.Errorf("create a volume on a full file system: %v", err)
	}
	if _, err := os.Lstat(dir); !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("it is half made: %v", err)
	}
	return nil
}

func fileSize(name string) int64 {
	info, err := os.Stat(name)
	if err != nil {
		return 0
	}
	return info.Size()
}
