package mount_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Calls that only a kernel makes, on a mount and on a plain directory.
//
// The server of the mount runs in this process. What the runtime can't put aside
// while the server answers must not be done here: no page of a mapping may be
// touched, and no child may meet the mount before it has become another program,
// by its directory or by being a program on it.
var kernelTests = map[string]func(t *testing.T, dir string){
	"Mmap": testMmap, "UserWriteClears": testUserWriteClears, "Permissions": testPermissions,
	"CopyRange": testCopyRange, "Sticky": testSticky, "TextBusy": testTextBusy, "RemovedDir": testRemovedDir,
	"RecordLocks": testRecordLocks,
}

func TestKernel(t *testing.T) {
	for name, test := range kernelTests {
		t.Run(name, func(t *testing.T) { test(t, mountedWith(t, 64<<20)) })
		t.Run(name+"OnPlainDirectory", func(t *testing.T) { test(t, t.TempDir()) })
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// testMmap runs TestMmapChild in a process of its own.
func testMmap(t *testing.T, dir string) {
	c := exec.Command(os.Args[0], "-test.run=^TestMmapChild$")
	c.Env = append(os.Environ(), mmapDir+"="+dir)
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// mmapDir is the variable that makes TestMmapChild do something.
const mmapDir = "COFFER_TEST_MMAP_DIR"

// TestMmapChild writes by a mapping and reads by calls, and the other way.
func TestMmapChild(t *testing.T) {
	dir := os.Getenv(mmapDir)
	if dir == "" {
		return // TestKernel starts it
	}
	f, err := os.Create(filepath.Join(dir, "file"))
	check(t, err)
	defer f.Close()
	check(t, f.Truncate(100_000))
	m, err := unix.Mmap(int(f.Fd()), 0, 100_000, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	check(t, err)
	copy(m[50_000:], "by mapping")
	b := make([]byte, 10)
	_, err = f.ReadAt(b, 50_000)
	check(t, err)
	_, err = f.WriteAt([]byte("by a call"), 60_000)
	check(t, err)
	if string(b) != "by mapping" || string(m[60_000:60_009]) != "by a call" {
		t.Errorf("read %q and %q", b, m[60_000:60_009])
	}
	check(t, unix.Msync(m, unix.MS_SYNC))
	check(t, unix.Munmap(m))
	check(t, f.Truncate(50_002))
	check(t, f.Truncate(50_010))
	_, err = f.ReadAt(b, 50_000)
	check(t, err)
	if string(b) != "by\x00\x00\x00\x00\x00\x00\x00\x00" {
		t.Errorf("read %q after truncate", b)
	}
}

// asUser runs a shell command as a user without privileges.
func asUser(dir, command string) error {
	c := exec.Command("/bin/sh", "-c", `cd "$0" && `+command, dir)
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	return c.Run()
}

// openToAll lets other users into the temporary directories that lead to dir.
func openToAll(t *testing.T, dir string) {
	t.Helper()
	for d := dir; d != "/" && d != os.TempDir(); d = filepath.Dir(d) {
		check(t, os.Chmod(d, 0o777))
	}
}

func testUserWriteClears(t *testing.T, dir string) {
	openToAll(t, dir)
	copyRange := fmt.Sprintf(`perl -e 'open(A, "<", "other") && open(B, "+<", "file") && syscall(%d, fileno(A), 0, fileno(B), 0, 1, 0) == 1 or die'`, unix.SYS_COPY_FILE_RANGE)
	for command, want := range map[string]uint32{
		"echo >>file": 0o777, ": >file": 0o777, "cat file": 0o6777, "truncate -s 5 file": 0o777,
		"fallocate -l 9 file": 0o777, "fallocate -p -o 0 -l 1 file": 0o777, copyRange: 0o777,
	} {
		name := filepath.Join(dir, "file")
		check(t, os.WriteFile(name, []byte("x"), 0o777))
		check(t, os.WriteFile(filepath.Join(dir, "other"), []byte("xy"), 0o644))
		check(t, unix.Chmod(name, 0o6777))
		check(t, asUser(dir, command))
		var st unix.Stat_t
		check(t, unix.Stat(name, &st))
		if st.Mode&0o7777 != want {
			t.Errorf("%s: mode %o, want %o", command, st.Mode&0o7777, want)
		}
	}
}

func testPermissions(t *testing.T, dir string) {
	openToAll(t, dir)
	check(t, os.WriteFile(filepath.Join(dir, "mine"), []byte("x"), 0o600))
	check(t, os.Mkdir(filepath.Join(dir, "closed"), 0o700))
	for _, command := range []string{"cat mine", "echo >>mine", "ls closed", "chmod 777 mine", "chown 65534 mine", ": >closed/f"} {
		if asUser(dir, command) == nil {
			t.Errorf("%s is allowed", command)
		}
	}
	check(t, asUser(dir, "echo >his && test -O his && chmod 600 his && rm his"))
}

func testSticky(t *testing.T, dir string) {
	openToAll(t, dir)
	check(t, unix.Chmod(dir, 0o1777))
	check(t, os.WriteFile(filepath.Join(dir, "mine"), nil, 0o666))
	if asUser(dir, "rm -f mine") == nil || asUser(dir, "mv mine his") == nil {
		t.Error("took a file from a sticky directory")
	}
}

func testCopyRange(t *testing.T, dir string) {
	want := bytes.Repeat([]byte("copy"), 100_000)
	from, err := os.Create(filepath.Join(dir, "from"))
	check(t, err)
	defer from.Close()
	_, err = from.Write(want)
	check(t, err)
	to, err := os.Create(filepath.Join(dir, "to"))
	check(t, err)
	defer to.Close()
	var in, out int64 = 1, 10
	for in < int64(len(want)) {
		n, err := unix.CopyFileRange(int(from.Fd()), &in, int(to.Fd()), &out, len(want), 0)
		check(t, err)
		if n == 0 {
			t.Fatal("nothing was copied")
		}
	}
	got, err := os.ReadFile(filepath.Join(dir, "to"))
	check(t, err)
	if !bytes.Equal(got, append(make([]byte, 10), want[1:]...)) {
		t.Errorf("%d bytes that are not the same", len(got))
	}
}

// testRecordLocks: the record locks of one process do not keep it out itself, as POSIX
// has it and against what go-fuse's posixtest wants (see TestPosix); those of an open
// file keep out all others.
func testRecordLocks(t *testing.T, dir string) {
	name := filepath.Join(dir, "locked")
	first, err := os.Create(name)
	check(t, err)
	defer first.Close()
	second, err := os.OpenFile(name, os.O_RDWR, 0)
	check(t, err)
	defer second.Close()
	lock := func(f *os.File, command int, kind int16) error {
		return unix.FcntlFlock(f.Fd(), command, &unix.Flock_t{Type: kind})
	}
	check(t, lock(first, unix.F_SETLK, unix.F_WRLCK))
	check(t, lock(second, unix.F_SETLK, unix.F_RDLCK))
	if err := lock(second, unix.F_OFD_SETLK, unix.F_WRLCK); !errors.Is(err, unix.EAGAIN) {
		t.Errorf("an open file's lock beside the process's: %v", err)
	}
	check(t, lock(first, unix.F_SETLK, unix.F_UNLCK))
	check(t, lock(second, unix.F_OFD_SETLK, unix.F_WRLCK))
	if err := lock(first, unix.F_SETLK, unix.F_RDLCK); !errors.Is(err, unix.EAGAIN) {
		t.Errorf("the process's lock beside an open file's: %v", err)
	}
}

func testTextBusy(t *testing.T, dir string) {
	name := filepath.Join(dir, "sleep")
	b, err := os.ReadFile("/bin/sleep")
	check(t, err)
	check(t, os.WriteFile(name, b, 0o755))
	c := exec.Command("/bin/sh", "-c", `echo started; exec "$0" 60`, name)
	out, err := c.StdoutPipe()
	check(t, err)
	check(t, c.Start())
	defer func() {
		_ = c.Process.Kill()
		_ = c.Wait()
	}()
	check(t, becomes(c.Process.Pid, name, out))
	if _, err := os.OpenFile(name, os.O_WRONLY, 0); !errors.Is(err, unix.ETXTBSY) {
		t.Errorf("write to what is running: %v", err)
	}
}

// becomes waits until a process that says a line first runs a program.
func becomes(pid int, program string, out io.Reader) error {
	if _, err := out.Read(make([]byte, 1)); err != nil {
		return err
	}
	for range 10_000 {
		if exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); err != nil || exe == program {
			return err
		}
		runtime.Gosched()
	}
	return errors.New("it does not start")
}

// testRemovedDir uses a directory that was removed.
func testRemovedDir(t *testing.T, dir string) {
	name := filepath.Join(dir, "d")
	check(t, os.Mkdir(name, 0o755))
	d, err := os.Open(name)
	check(t, err)
	defer d.Close()
	check(t, os.Remove(name))
	fd := int(d.Fd())
	if err := unix.Mkdirat(fd, "x", 0o755); !errors.Is(err, unix.ENOENT) {
		t.Errorf("mkdir: %v", err)
	}
	if names, err := d.Readdirnames(-1); len(names) > 0 || err != nil && !errors.Is(err, unix.ENOENT) {
		t.Errorf("readdir: %q, %v", names, err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Nlink != 0 {
		t.Errorf("fstat: %d links, %v", st.Nlink, err)
	}
}
