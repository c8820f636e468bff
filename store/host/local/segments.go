package local

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/coffer-fs/coffer/store/host"
)

const (
	segmentsName  = "segments"
	segmentSuffix = ".seg"

	// maxListed bounds the entries of a directory that are looked at.
	maxListed = 1 << 20
	// maxReopens bounds how often a read opens its file anew, because others
	// pushed it out of the open ones.
	maxReopens = 8
)

func segmentName(id host.SegmentID) string {
	return strconv.FormatUint(uint64(id), 10) + segmentSuffix
}

// parseSegmentName is the inverse of segmentName, and takes nothing else.
func parseSegmentName(name string) (host.SegmentID, bool) {
	digits, ok := strings.CutSuffix(name, segmentSuffix)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	id := host.SegmentID(n)
	if err != nil || id == 0 || id > host.MaxSegmentID || segmentName(id) != name {
		return 0, false
	}
	return id, true
}

// read fills p from a segment.
func (t *tree) read(id host.SegmentID, off int64, p []byte) (n int, err error) {
	if err := host.CheckSegment(id, off, len(p)); err != nil {
		return 0, fmt.Errorf("read: %w", err)
	}
	if n, err = readOpen(t.files, id, off, p); err != nil {
		return n, fmt.Errorf("read segment %d, %d bytes at %d: %w", id, len(p), off, err)
	}
	return n, nil
}

// readOpen fills p from a file that others may close meanwhile.
func readOpen(files *files, id host.SegmentID, off int64, p []byte) (n int, err error) {
	for range maxReopens {
		var f *os.File
		if f, err = files.get(id); err != nil {
			break
		}
		if n, err = f.ReadAt(p, off); !errors.Is(err, os.ErrClosed) {
			break
		}
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// list lists the files that are segments; others are ignored.
func (t *tree) list() ([]host.SegmentInfo, error) {
	names, err := readNames(t.segments)
	if err != nil {
		return nil, fmt.Errorf("list segments: %w", err)
	}
	var infos []host.SegmentInfo
	for _, name := range names {
		id, ok := parseSegmentName(name)
		if !ok {
			continue
		}
		if st, err := statAt(t.segments, name); err == nil && isRegular(st) {
			infos = append(infos, host.SegmentInfo{ID: id, Size: st.Size})
		}
	}
	return infos, nil
}

// readNames lists a directory, on a descriptor of its own, since the position
// in a directory belongs to the descriptor.
func readNames(dir *os.File) ([]string, error) {
	d, err := openDir(dir, ".")
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(maxListed)
	if err == io.EOF {
		err = nil
	}
	if err == nil && len(names) == maxListed {
		err = damaged(fmt.Errorf("more than %d entries in %q", maxListed, dir.Name()))
	}
	return names, err
}
