package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// holder is who writes a volume, or reads it and wants it to stand still.
type holder struct {
	PID  int    `json:"pid"`
	What string `json:"what"`
}

// maxHolderBytes bounds what is read of a lock file.
const maxHolderBytes = 4 << 10

// holderOf says who holds a volume; nil if nobody does. It changes nothing: a
// holder keeps VOLUME/lock.E locked for as long as it lives (store/host/local).
func holderOf(volume string) (*holder, error) {
	locks, err := filepath.Glob(filepath.Join(quoteGlob(volume), "lock.*"))
	if err != nil {
		return nil, err
	}
	slices.Sort(locks)
	for _, path := range locks {
		if h, err := readHolder(path); h != nil || err != nil {
			return h, err
		}
	}
	return nil, nil
}

// readHolder is the holder of one lock file, nil if it is not locked.
func readHolder(path string) (*holder, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB); err != unix.EWOULDBLOCK {
		return nil, err
	}
	b := make([]byte, maxHolderBytes)
	n, _ := f.Read(b)
	h := &holder{What: "unknown"}
	_ = json.Unmarshal(b[:n], h) // it is for people to read
	return h, nil
}

// quoteGlob is a path that means itself in a pattern.
func quoteGlob(path string) string {
	var b []byte
	for i := range len(path) {
		switch path[i] {
		case '*', '?', '[', '\\':
			b = append(b, '\\')
		}
		b = append(b, path[i])
	}
	return string(b)
}
