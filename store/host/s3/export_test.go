package s3

import (
	"crypto/sha256"

	"github.com/coffer-fs/coffer/store/host"
)

// Abandon leaves a writer as a process that is killed would: nothing is shipped or
// given back, and the directory's lock is free.
func Abandon(w host.Writer) {
	x := w.(*writer)
	x.mu.Lock()
	x.released = true
	x.changed.Broadcast()
	x.mu.Unlock()
	x.stop()
	x.work.Wait()
	x.dir.close()
}

// FoldOften makes a new head of every few entries.
func FoldOften(o Options, entries int) Options {
	o.foldEntries = entries
	return o
}

// LagOf is what the store lacks of what a writer acknowledged.
func LagOf(w host.Writer) Lag { return w.(*writer).Lag() }

// ReadHead reads a head and writes it again, without what is random.
func ReadHead(b []byte) (again []byte, err error) {
	s, err := parseHead(b)
	if err != nil {
		return nil, err
	}
	again = s.encodeHead()
	copy(again[12:28], b[12:28])
	return again[:len(again)-sumSize], nil
}

// ReadEntry reads an entry and writes it again.
func ReadEntry(b []byte, epoch, index uint64) (again []byte, err error) {
	e, err := parseEntry(b, epoch, index)
	if err != nil {
		return nil, err
	}
	return e.encode(), nil
}

// Entry is an entry without changes, or the end of an epoch.
func Entry(epoch, index uint64, end bool) []byte {
	e := &entry{kind: entryChanges, epoch: epoch, index: index}
	if end {
		e.kind = entryEnd
	}
	return e.encode()
}

// Sum makes the sum of a head good that was spoilt.
func Sum(head []byte) []byte {
	sum := sha256.Sum256(head[:len(head)-sumSize])
	return append(head[:len(head)-sumSize:len(head)-sumSize], sum[:]...)
}

// ReadJournal reads a journal, and counts what is in it.
func ReadJournal(b []byte) (int, error) {
	j, err := parseJournal(b)
	if err != nil {
		return 0, err
	}
	return len(j.entries), nil
}
