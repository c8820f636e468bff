package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// What the background worker is woken for.
const (
	kickNext       = 1 << iota // make the next log segment ready
	kickCheckpoint             // the log or the changed nodes grew large
)

// checkpointEvery bounds the time between a change and the checkpoint that
// holds it.
const checkpointEvery = 30 * time.Second

// maxLogBytes of log cause a checkpoint, unless a quarter of the volume is less.
const maxLogBytes = 512 << 20

// kick wakes the worker.
func (s *Store) kick(bit uint32) {
	s.work.Or(bit)
	select {
	case s.kicks <- struct{}{}:
	default:
	}
}

// kickIfDue wakes the worker if a checkpoint is due. Callers hold mu.
func (s *Store) kickIfDue() {
	due := s.tree.DirtyBytes() > s.maxDirty()/2 ||
		s.log.records > int64(s.options.CheckpointBytes)/4 ||
		s.log.bytes > min(maxLogBytes, s.capacity/4)
	if due {
		s.kick(kickCheckpoint)
	}
}

// kickAppender wakes the appender, so that a full batch is appended while the next
// one is being filled.
func (s *Store) kickAppender() {
	select {
	case s.appendKicks <- struct{}{}:
	default:
	}
}

// appender appends full batches. An error has become the volume's by then, and is
// told to whoever changes or commits anything next.
func (s *Store) appender(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.appendKicks:
			_ = s.drain(ctx)
		}
	}
}

// startWorker starts the goroutines of a Store: the worker, the cleaner, the reaper,
// the appender, and the one that tells the anchor how far the volume has come.
// Close waits for them.
func (s *Store) startWorker() {
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	if s.host == nil {
		close(s.done)
		return
	}
	s.mu.Lock()
	s.kickCleaner()
	s.mu.Unlock()
	go func() {
		defer close(s.done)
		var wg sync.WaitGroup
		defer wg.Wait()
		wg.Go(func() { s.cleaner(ctx) })
		wg.Go(func() { s.reaper(ctx) })
		wg.Go(func() { s.appender(ctx) })
		wg.Go(func() { s.anchorLoop(ctx) })
		s.worker(ctx)
	}()
}

func (s *Store) worker(ctx context.Context) {
	tick := time.NewTicker(checkpointEvery)
	defer tick.Stop()
	s.kick(kickNext)
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if s.changed() {
				s.background(ctx, kickCheckpoint)
			}
		case <-s.kicks:
			s.background(ctx, s.work.Swap(0))
		}
	}
}

// changed reports whether a checkpoint would have anything to write.
func (s *Store) changed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.usable() == nil && (s.log.open != nil || s.log.sequence != s.root.log.sequence)
}

// background does the work asked for. Errors are logged here because nobody
// waits for it: whoever needs the result tries again and gets the error.
func (s *Store) background(ctx context.Context, work uint32) {
	if work&kickNext != 0 {
		if s.syncsOften() {
			prepareSegments(ctx, s.host, s.segmentSize)
		}
		_, err := s.tryPrepareNext(ctx, spaceUser)
		s.warn(ctx, "prepare log segment", err)
	}
	if work&kickCheckpoint != 0 {
		s.warn(ctx, "checkpoint", s.Checkpoint(ctx))
	}
}

// warn logs what went wrong in the background, but not that a Close cut it
// short.
func (s *Store) warn(ctx context.Context, what string, err error) {
	if err != nil && ctx.Err() == nil && !errors.Is(err, ErrClosed) {
		s.logger.Warn(what, "error", err)
	}
}

// Close checkpoints and lets go of the volume. After an error what was
// committed is safe, and what was not is as after a crash.
func (s *Store) Close() error {
	s.closeMu.Lock()
	defer s.closeMu.Unlock()
	s.stop()
	<-s.done
	ctx := context.Background()
	var err error
	if s.host != nil {
		if err = s.Err(); err == nil {
			err = s.checkpointAs(ctx, kindLast)
		}
		if err == nil {
			err = s.anchorNow(ctx)
		}
	}
	s.mu.Lock()
	again := s.closed
	s.closed = true
	s.mu.Unlock()
	if again {
		return ErrClosed
	}
	err = errors.Join(err, s.letGo(ctx))
	if err != nil {
		return fmt.Errorf("close volume: %w", err)
	}
	return nil
}

// letGo gives the volume back after the last call that found it open: those who come
// later find it closed before they ask the host for anything. It clears the keys that
// are not part of a cipher.
func (s *Store) letGo(ctx context.Context) (err error) {
	for _, mu := range []*sync.Mutex{&s.prepareMu, &s.ckptMu, &s.syncMu, &s.appendMu} {
		mu.Lock()
		defer mu.Unlock()
	}
	if s.host != nil {
		err = errors.Join(s.deleteNext(ctx), s.host.Release(ctx))
	}
	s.secret.Key.Destroy()
	return err
}

// deleteNext deletes the log segment that was made ready and not used.
func (s *Store) deleteNext(ctx context.Context) error {
	s.mu.Lock()
	g := s.log.next
	s.log.next = nil
	failed := s.failure != nil
	s.mu.Unlock()
	if g == nil || failed {
		return nil
	}
	if err := s.host.Delete(ctx, g.id); err != nil && !isNotFound(err) {
		return err
	}
	return nil
}

// smallBatch is the mean size of batches below which a volume counts as one that
// is synced often, in bytes.
const smallBatch = 256 << 10

// syncsOften reports whether the batches since it was last asked were small.
func (s *Store) syncsOften() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	batches := s.log.sequence - s.asked
	s.asked = s.log.sequence
	return int64(batches)*smallBatch > s.segmentSize
}
