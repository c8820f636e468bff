package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// mountedVolume finds the volume that is mounted on dir.
func mountedVolume(dir string) (string, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return "", err
	}
	defer f.Close()
	volume, err := findVolume(f, realPath(dir))
	if err == nil && volume == "" {
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
// volume; empty if there is none, or it is no volume.
func findVolume(r io.Reader, dir string) (volume string, err error) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		// 36 35 0:30 / /mnt rw - fuse.coffer coffer:/path rw,...
		before, after, ok := strings.Cut(lines.Text(), " - ")
		mounted, source := strings.Fields(before), strings.Fields(after)
		if ok && len(mounted) >= 5 && len(source) >= 2 && unescape(mounted[4]) == dir {
			volume, _ = strings.CutPrefix(unescape(source[1]), "coffer:")
			if volume == unescape(source[1]) {
				volume = ""
			}
		}
	}
	return volume, lines.Err()
}

// unescape undoes what the kernel does to white space and # in mountinfo.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\043`, "#", `\134`, `\`).Replace(s)
}
