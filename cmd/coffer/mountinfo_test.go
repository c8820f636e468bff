package main

import (
	"strings"
	"testing"
)

func TestFindVolume(t *testing.T) {
	const mounts = `22 1 8:1 / / rw - ext4 /dev/root rw
36 22 0:30 / /mnt rw,nosuid - fuse.coffer coffer:/volumes/one rw
37 22 0:31 / /my\040mnt rw,nosuid shared:5 - fuse.coffer coffer:/my\040volumes/t\134wo rw
38 22 0:32 / /twice rw - fuse.coffer coffer:/volumes/under rw
39 38 0:33 / /twice rw - tmpfs tmpfs rw
40 22 0:34 / /other rw - fuse.sshfs host:/coffer:/x rw
41 22 0:35 / /memory rw - fuse.coffer coffer rw
short line
`
	for dir, want := range map[string]string{"/mnt": "/volumes/one", "/my mnt": `/my volumes/t\wo`, "/memory": ""} {
		if got, ok, err := findVolume(strings.NewReader(mounts), dir); err != nil || !ok || got != want {
			t.Errorf("%q: %q, %v, %v, want %q", dir, got, ok, err, want)
		}
	}
	for _, dir := range []string{"/twice", "/other", "/", "/none"} {
		if got, ok, err := findVolume(strings.NewReader(mounts), dir); err != nil || ok || got != "" {
			t.Errorf("%q: %q, %v, %v, want none", dir, got, ok, err)
		}
	}
}
