package local_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/local"
	"github.com/coffer-fs/coffer/store/host/point"
)

// receiveFull receives into a file system that somebody else fills meanwhile: it says so,
// and goes on from there when there is room.
func receiveFull(mount string) error {
	if err := smallFileSystem(mount); err != nil {
		return err
	}
	m := point.Manifest{ID: host.PointID{1}, Name: "p", Taken: time.Unix(1, 0), Records: map[string][]byte{"root": []byte("r")}}
	for id := range host.SegmentID(3) {
		m.Segments = append(m.Segments, point.Segment{ID: id + 1, Size: capacity / 2})
	}
	dir := filepath.Join(mount, "copy")
	in, err := local.Receive(ctx, dir, m, local.ReceiveOptions{})
	if err != nil {
		return err
	}
	piece := bytes.Repeat([]byte("x"), capacity/8)
	for range 5 { // one segment, and a quarter of the next one
		if err := in.Write(ctx, piece); err != nil {
			return err
		}
	}
	if err := in.Flush(); err != nil {
		return err
	}
	other := filepath.Join(mount, "other")
	if err := fillUp(other); err != nil {
		return err
	}
	for err = in.Write(ctx, piece); err == nil; err = in.Write(ctx, piece) {
	}
	if !errors.Is(err, host.ErrNoSpace) {
		return fmt.Errorf("write on a full file system: %w", err)
	}
	_ = in.Close() // what it could not note was noted before
	if _, err := local.Receive(ctx, dir, m, local.ReceiveOptions{}); !errors.Is(err, host.ErrNoSpace) {
		return fmt.Errorf("begin on a full file system: %w", err)
	}
	if err := os.Remove(other); err != nil {
		return err
	}
	if in, err = local.Receive(ctx, dir, m, local.ReceiveOptions{}); err != nil {
		return err
	}
	if done := m.Done(in.At()); done < 5*capacity/8 {
		return fmt.Errorf("it goes on at %d", done)
	}
	for in.At() != m.End() {
		if err := in.Write(ctx, piece[:min(int64(len(piece)), m.Left(in.At()))]); err != nil {
			return err
		}
	}
	if err := in.Finish(ctx); err != nil {
		return err
	}
	v, err := local.Open(dir)
	if err != nil {
		return err
	}
	defer v.Close()
	b := make([]byte, capacity/2)
	for _, s := range m.Segments {
		if _, err := v.Read(ctx, s.ID, 0, b); err != nil || !bytes.Equal(b, bytes.Repeat([]byte("x"), len(b))) {
			return fmt.Errorf("segment %d: %w", s.ID, err)
		}
	}
	fmt.Println("done")
	return nil
}

// smallFileSystem mounts one of 4 MiB.
func smallFileSystem(mount string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("tmpfs", mount, "tmpfs", 0, "size=4m"); err != nil {
		return fmt.Errorf("mount: %w", err)
	}
	return nil
}

// fillUp makes a file that takes all the room there is.
func fillUp(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	for {
		if _, err := f.Write(make([]byte, 64<<10)); errors.Is(err, unix.ENOSPC) {
			return nil
		} else if err != nil {
			return err
		}
	}
}
