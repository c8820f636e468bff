package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// readyFlag is how a background process is told where to say that it is ready.
const readyFlag = "ready-fd"

// background starts this command again as a process of its own, and returns
// when that has mounted or failed. It is given two pipes: standard error, for
// what it has to say until then, and one for the word that it is ready. It closes
// both, so that nothing waits for it and it waits for nobody: if this process
// is killed, it mounts all the same.
func background(ctx context.Context, dir string) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	messages, err := newPipe()
	if err != nil {
		return err
	}
	ready, err := newPipe()
	if err != nil {
		return errors.Join(err, messages.close())
	}
	child := exec.Command(exe, append(os.Args[1:], "--foreground", "--"+readyFlag, "3")...)
	child.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	child.Stderr, child.ExtraFiles = messages.w, []*os.File{ready.w}
	if err := child.Start(); err != nil {
		return errors.Join(err, messages.close(), ready.close())
	}
	stop := context.AfterFunc(ctx, func() { _ = child.Process.Signal(syscall.SIGTERM) }) // it may have ended
	defer stop()
	messages.w.Close()
	ready.w.Close()
	_, _ = io.Copy(os.Stderr, messages.r) // nobody may be listening
	line, _ := bufio.NewReader(ready.r).ReadString('\n')
	if line == readyLine {
		return child.Process.Release()
	}
	return ended(child, dir)
}

// readyLine is the word that the filesystem can be used.
const readyLine = "ready\n"

// ended is how a background process failed.
func ended(child *exec.Cmd, dir string) error {
	err := child.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Exited() {
		return &errSaid{exit.ExitCode()}
	}
	return fmt.Errorf("mount on %q: the background process ended: %w", dir, errors.Join(err, io.ErrUnexpectedEOF))
}

// inherited are the open files that this process was given by the one that started it,
// beside the standard ones and readyFD. It must be called before anything is opened:
// what is opened here is marked to be closed by the next program, but not by all
// libraries.
func inherited(readyFD int) ([]int, error) {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return nil, err
	}
	var fds []int
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil || fd <= 2 || fd == readyFD {
			continue
		}
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			fds = append(fds, fd)
		}
	}
	return fds, nil
}

// detach lets go of all that was given to this process by the one that started
// it, and says that it is ready. What is logged goes to logFile, or nowhere.
func detach(readyFD int, given []int, logFile string) error {
	if logFile == "" {
		logFile = os.DevNull
	}
	log, err := os.OpenFile(logFile, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	if err := os.Chdir("/"); err != nil {
		return err
	}
	for _, fd := range given { // somebody may wait for it to be closed, or unlocked
		if err := unix.Close(fd); err != nil {
			return fmt.Errorf("detach: close file %d: %w", fd, err)
		}
	}
	if err := unix.Dup3(int(log.Fd()), int(os.Stderr.Fd()), 0); err != nil {
		return fmt.Errorf("detach: %w", err)
	}
	ready := os.NewFile(uintptr(readyFD), "ready "+strconv.Itoa(readyFD))
	_, _ = ready.WriteString(readyLine) // nobody may be listening
	return ready.Close()
}

// pipe is both ends of one.
type pipe struct{ r, w *os.File }

func newPipe() (p pipe, err error) {
	p.r, p.w, err = os.Pipe()
	return p, err
}

func (p pipe) close() error { return errors.Join(p.r.Close(), p.w.Close()) }
