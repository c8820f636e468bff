package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/coffer-fs/coffer/store/host"
)

// pipeBytes is what a pipe is asked to hold, so that both ends find work.
const pipeBytes = 1 << 20

// spliceFrom returns a function that moves a chunk from the file of its segment into a
// pipe, nil if w is none or the point has no files.
func spliceFrom(p host.Point, w io.Writer) func(context.Context, chunk) error {
	files, ok := p.(filer)
	out, isFile := w.(*os.File)
	if !ok || !isFile {
		return nil
	}
	if info, err := out.Stat(); err != nil || info.Mode()&os.ModeNamedPipe == 0 {
		return nil
	}
	_ = control(out, func(fd int) error {
		_, err := unix.FcntlInt(uintptr(fd), unix.F_SETPIPE_SZ, pipeBytes)
		return err // it stays as large as it is
	})
	return func(ctx context.Context, c chunk) error { return splice(ctx, files, out, c) }
}

// maxReopens bounds how often the file of a segment is asked for, because others closed
// it meanwhile.
const maxReopens = 8

func splice(ctx context.Context, files filer, out *os.File, c chunk) error {
	off, left := c.at.Offset, c.size
	for try := 0; ; try++ {
		in, err := files.SegmentFile(ctx, c.id)
		if err != nil {
			return err
		}
		err = spliceFile(in, out, &off, &left)
		if errors.Is(err, os.ErrClosed) && try < maxReopens {
			continue
		}
		if err != nil {
			return fmt.Errorf("segment %d at %d: %w", c.id, off, err)
		}
		return nil
	}
}

// spliceFile moves left bytes from off.
func spliceFile(in, out *os.File, off, left *int64) error {
	return control(in, func(from int) error {
		conn, err := out.SyscallConn()
		if err != nil {
			return err
		}
		var failed error
		err = conn.Write(func(to uintptr) bool {
			for *left > 0 {
				n, err := unix.Splice(from, off, int(to), nil, int(*left), unix.SPLICE_F_MORE)
				switch {
				case err == unix.EAGAIN:
					return false
				case err == unix.EINTR:
				case err != nil:
					failed = os.NewSyscallError("splice", err)
					return true
				case n == 0:
					failed = io.ErrUnexpectedEOF
					return true
				default:
					*left -= n
				}
			}
			return true
		})
		return errors.Join(failed, err)
	})
}

// control runs do with the descriptor of a file that stays open meanwhile.
func control(f *os.File, do func(fd int) error) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := conn.Control(func(fd uintptr) { failed = do(int(fd)) }); err != nil {
		return err
	}
	return failed
}
