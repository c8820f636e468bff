package local

import (
	"errors"
	"os"

	"github.com/coffer-fs/coffer/store/host/point"
)

// stageSync makes segments that have come durable in the background, some at a time,
// and notes then how far the transfer has come. At most one batch is under way.
type stageSync struct {
	in    *Incoming
	files []*os.File
	bytes int64
	at    point.Position // behind files
	under chan error     // the batch under way, nil if none is
	err   error          // the first one; it is final
}

func newStageSync(in *Incoming) *stageSync { return &stageSync{in: in} }

// add takes over a file that is whole; at is the position behind it.
func (s *stageSync) add(f *os.File, size int64, at point.Position) error {
	s.files, s.bytes, s.at = append(s.files, f), s.bytes+size, at
	if s.bytes < stageSyncBytes && len(s.files) < stageSyncFiles {
		return s.err
	}
	s.join()
	if s.err != nil {
		return s.err
	}
	files, behind := s.files, s.at
	s.files, s.bytes = nil, 0
	s.under = make(chan error, 1)
	go func(done chan<- error) { done <- s.make(files, behind) }(s.under)
	return nil
}

// make makes files durable and notes it.
func (s *stageSync) make(files []*os.File, at point.Position) (err error) {
	for _, f := range files {
		if err == nil {
			err = fdatasync(f)
		}
		err = errors.Join(err, f.Close())
	}
	if err == nil {
		err = s.in.dir.Sync()
	}
	if err == nil {
		err = s.in.writeProgress(at)
	}
	return err
}

// final keeps the error of a sync: a later one says nothing of what was lost.
func (s *stageSync) final(err error) error {
	if s.err == nil {
		s.err = err
	}
	return err
}

// join waits for the batch under way.
func (s *stageSync) join() {
	if s.under == nil {
		return
	}
	if err := <-s.under; err != nil && s.err == nil {
		s.err = err
	}
	s.under = nil
}

// wait makes everything durable that was added.
func (s *stageSync) wait() error {
	s.join()
	files := s.files
	s.files, s.bytes = nil, 0
	if s.err == nil && len(files) > 0 {
		s.err = s.make(files, s.at)
	} else {
		for _, f := range files {
			f.Close()
		}
	}
	return s.err
}
