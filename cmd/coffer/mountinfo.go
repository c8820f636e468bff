package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// mountedVolume finds the volume that is mounted on dir; it is empty if what is mounted
// is in memory.
func mountedVolume(dir string) (string, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return "", err
	}
	defer f.Close()
	volume, ok, err := findVolume(f, realPath(dir))
	if err == nil && !ok {
		err = &failure{exitMountPoint, fmt.Errorf("no volume is mounted on %q", dir), ""}
	}
	return volume, err
}

// realPath is a path as the kernel shows it, also of a mount whose process died:
// that cannot be looked at.
func realPath(path string) string {
	path = abs(path)
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	if up, err := filepath.EvalSymlinks(filepath.Dir(path)); err == nil {
		return filepath.Join(up, filepath.Base(path))
	}
	return path
}

// findVolume finds the last mount on dir in a mountinfo file, and returns its
// volume, and whether it is one of ours.
func findVolume(r io.Reader, dir string) (volume string, ok bool, err error) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		// 36 35 0:30 / /mnt rw - fuse.coffer coffer:/path rw,...
		before, after, whole := strings.Cut(lines.Text(), " - ")
		mounted, from := strings.Fields(before), strings.Fields(after)
		if whole && len(mounted) >= 5 && len(from) >= 2 && unescape(mounted[4]) == dir {
			volume, ok = ofSource(unescape(from[1]))
		}
	}
	return volume, ok, lines.Err()
}

// ofSource undoes mountSource.
func ofSource(source string) (volume string, ok bool) {
	if source == memorySource {
		return "", true
	}
	volume, ok = strings.CutPrefix(source, volumeSource)
	if !ok {
		volume = ""
	}
	return volume, ok
}

// unescape undoes what the kernel does to white space and # in mountinfo.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\043`, "#", `\134`, `\`).Replace(s)
}
