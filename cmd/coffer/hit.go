package main

import (
	"context"
	"fmt"

	"github.com/coffer-fs/coffer"
	"github.com/coffer-fs/coffer/store"
)

// hitFiles are files that damage hits.
type hitFiles struct {
	Files []hitFile `json:"files"`
	More  int       `json:"moreFiles"` // that are hit and not named
}

// hitFile is one of them. Names are empty if none can be found.
type hitFile struct {
	Inode    uint64   `json:"inode"`
	Names    []string `json:"names"`
	Snapshot string   `json:"snapshot"` // which has it so; empty is the present state
}

func (h hitFile) String() string {
	what := fmt.Sprintf("hit: inode %d", h.Inode)
	if h.Snapshot != "" {
		what += fmt.Sprintf(", as snapshot %q has it", h.Snapshot)
	}
	for _, n := range h.Names {
		what += fmt.Sprintf(", %q", n)
	}
	return what
}

// maxHits is how many files are named.
const maxHits = 1000

// findHits names the files that damage hits.
func findHits(ctx context.Context, v *coffer.Volume, damage []store.Damage) hitFiles {
	hits := v.Tree().Hits(ctx, damage, maxHits)
	r := hitFiles{Files: []hitFile{}, More: hits.More}
	for _, h := range hits.Files {
		r.Files = append(r.Files, hitFile{uint64(h.Ino), append([]string{}, h.Names...), h.Snapshot})
	}
	return r
}

func (r hitFiles) print(p *printer) {
	for _, f := range r.Files {
		p.line("%v", f)
	}
	if r.More > 0 {
		p.line("hit: and %d more files", r.More)
	}
}
