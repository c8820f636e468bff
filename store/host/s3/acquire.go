package s3

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"time"

	"github.com/coffer-fs/coffer/store/host"
)

// maxAcquires bounds how often the volume may change while one acquires it.
const maxAcquires = 64

// maxAhead is how many entries ahead of the holder an end is made at most: more than
// he makes between a fold and the one that he waits for.
const maxAhead = 2 * lateEntries

// terms are those of an acquisition.
type terms struct {
	o     host.AcquireOptions
	lease [sha256.Size]byte // hash of the token by which the holder may come back
	back  bool              // only if nobody acquired the volume since
}

// acquisition is one attempt to become the writer.
type acquisition struct {
	*Volume
	terms
	dir *dir

	resumed []place // entries that were made of a journal
	knocked bool    // at the holder of this epoch, when the next entry was
	epoch   uint64  // this one
	next    uint64
	ahead   uint64 // how many entries further an end is made as well, for a holder who is faster; doubled with each try
}

// Acquire implements host.Volume:
//
//  1. read the head and the entries behind it
//  2. if somebody holds the volume, end his journal, or give way
//  3. replace the head by one that says who holds it now, if it is still the
//     one that was read; else begin anew
//
// Whoever holds the volume deletes an entry only after he replaced the head. So
// if step 3 succeeds, no entry was missed in step 1, and what step 2 made is the
// journal's end.
func (v *Volume) Acquire(ctx context.Context, o host.AcquireOptions) (host.Writer, error) {
	return v.acquire(ctx, terms{o: o})
}

// AcquireAs is Acquire for a holder that may come back with its token: one that
// this process serves.
func (v *Volume) AcquireAs(ctx context.Context, o host.AcquireOptions, token [32]byte) (host.Writer, error) {
	return v.acquire(ctx, terms{o: o, lease: sha256.Sum256(token[:])})
}

// Resume is Acquire for the holder whose token it is, if nobody acquired the
// volume since: else ErrFenced. Whoever still served that holder is fenced. The
// new writer may Adopt segments.
func (v *Volume) Resume(ctx context.Context, o host.AcquireOptions, token [32]byte) (host.Writer, error) {
	o.Takeover = true
	return v.acquire(ctx, terms{o: o, lease: sha256.Sum256(token[:]), back: true})
}

func (v *Volume) acquire(ctx context.Context, t terms) (host.Writer, error) {
	w, err := v.acquireAs(ctx, t)
	if err != nil {
		return nil, fmt.Errorf("acquire volume: %w", err)
	}
	return w, nil
}

func (v *Volume) acquireAs(ctx context.Context, t terms) (*writer, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	v.mu.Lock()
	closed := v.closed
	v.mu.Unlock()
	if closed {
		return nil, errClosed
	}
	d, err := openDir(v.options.Dir)
	if err != nil {
		return nil, err
	}
	a := &acquisition{Volume: v, terms: t, dir: d}
	for range maxAcquires {
		w, err := a.try(ctx)
		if w != nil {
			return w, nil
		}
		if err != nil {
			d.close()
			return nil, err
		}
		// The holder was faster: he made the entry that was to be the end, or, even
		// before that, a new head, so that what was read is of the past.
		a.ahead = min(max(1, 2*a.ahead), maxAhead)
	}
	d.close()
	return nil, fmt.Errorf("%w: the volume changed while it was acquired, %d times", ErrAnswer, maxAcquires)
}

// try is one attempt. Without a writer and without an error it is to be made
// again.
func (a *acquisition) try(ctx context.Context) (*writer, error) {
	v, err := a.loadHead(ctx, "")
	if err != nil {
		return nil, err
	}
	if a.back && subtle.ConstantTimeCompare(v.holder.lease[:], a.lease[:]) != 1 {
		return nil, host.ErrFenced
	}
	logs := v.logObjects()
	found, ended, err := a.follow(ctx, v.state)
	if err != nil {
		return nil, a.ifSame(ctx, v, err)
	}
	logs = append(logs, found...)
	unclean := v.held || ended
	if v.held {
		if done, err := a.endHolder(ctx, v); !done || err != nil {
			return nil, err
		}
		v.held = false
	}
	if err := a.dir.checkShipped(v.state); err != nil {
		return nil, err
	}
	s := a.mine(v.state)
	tag, err := a.claim(ctx, s, v)
	if tag == "" || err != nil {
		return nil, err
	}
	if err := a.dir.beginJournal(a.options.Durability, s); err != nil {
		return nil, err
	}
	if a.knocked || a.o.Takeover && unclean { // let the one before know soon
		_ = a.knock(ctx)
	}
	w := a.begin(s, tag, a.dir, append(logs, a.resumed...), unclean)
	w.resumed = a.back
	return w, nil
}

// ifSame is an error of reading the journal, unless the head was replaced
// meanwhile: then what was read is of no meaning.
func (a *acquisition) ifSame(ctx context.Context, v *view, err error) error {
	if _, headErr := a.loadHead(ctx, v.tag); headErr == nil {
		return nil
	}
	return err
}

// logObjects are the entries that a head refers to.
func (s *state) logObjects() (at []place) {
	seen := make(map[entryKey]bool)
	for _, g := range s.segments {
		for _, e := range g.extents {
			k := entryKey{e.at.epoch, e.at.number}
			if e.at.kind == inLog && !seen[k] {
				seen[k] = true
				at = append(at, place{kind: inLog, epoch: k.epoch, number: k.index})
			}
		}
	}
	return at
}

// mine is a state as the first of a new epoch.
func (a *acquisition) mine(s *state) *state {
	n := s.clone()
	n.epoch, n.next, n.shipped, n.held = s.epoch+1, 0, 0, true
	n.holder = holder{lease: a.lease, owner: printable(a.o.Owner), local: a.options.Durability == Local, home: a.dir.id()}
	rand.Read(n.holder.token[:])
	return n
}

// claim replaces the head that was read. No tag: it is another one now. A store that
// ignores conditions is found out here, wherever the volume was made.
func (a *acquisition) claim(ctx context.Context, s *state, v *view) (string, error) {
	head := s.encodeHead()
	tag, err := a.objects.put(ctx, headName, head, condition{match: v.tag})
	if isNewHead(err) { // perhaps a try that was not answered made it
		now, headErr := a.loadHead(ctx, "")
		if headErr != nil || !bytes.Equal(now.raw, head) {
			return "", headErr
		}
		tag, err = now.tag, nil
	}
	if err == nil {
		err = a.tryConditions(ctx, head)
	}
	return tag, err
}

// endHolder ends the journal of whoever holds the volume. It is not done if the
// volume changed meanwhile.
func (a *acquisition) endHolder(ctx context.Context, v *view) (done bool, err error) {
	switch {
	case a.dir.isHome(v.holder): // and this process has its lock: it is gone
		if err := a.resume(ctx, v); err != nil {
			return false, unlessOther(err)
		}
	case a.options.Durability == Local && a.dir != nil && !a.dir.locked:
		return false, inUse(v.holder)
	case !a.o.Takeover:
		if silent, err := a.isSilent(ctx, v); !silent || err != nil {
			return false, err
		}
		if v.holder.local {
			return false, fmt.Errorf("%q held it, and was to ship what it acknowledged: open it there, or take it over: %w: %w",
				v.holder.owner, host.ErrInUse, ErrUnshipped)
		}
	}
	if a.o.Takeover && a.ahead > 0 { // however many entries he makes meanwhile, he stops there
		if err := unlessOther(a.putEnd(ctx, v.epoch, v.next+a.ahead)); err != nil {
			return false, err
		}
	}
	err = a.putEnd(ctx, v.epoch, v.next)
	return err == nil, unlessOther(err)
}

// putEnd makes an entry that ends an epoch.
func (a *acquisition) putEnd(ctx context.Context, epoch, index uint64) error {
	e := &entry{kind: entryEnd, epoch: epoch, index: index}
	rand.Read(e.token[:])
	if err := e.seal(); err != nil {
		return err
	}
	return a.putEntry(ctx, e)
}

// unlessOther is an error, unless it says that somebody made that entry meanwhile:
// then it is to be read.
func unlessOther(err error) error {
	if errors.Is(err, host.ErrFenced) || errors.Is(err, errOther) {
		return nil
	}
	return err
}

func inUse(h holder) error { return fmt.Errorf("by %q: %w", h.owner, host.ErrInUse) }

// isSilent knocks at the holder and waits for an entry of his.
func (a *acquisition) isSilent(ctx context.Context, v *view) (bool, error) {
	if a.knocked && a.epoch == v.epoch && v.next > a.next {
		return false, inUse(v.holder)
	}
	a.knocked, a.epoch, a.next = true, v.epoch, v.next
	if err := a.knock(ctx); err != nil {
		return false, err
	}
	pause := min(a.options.Beat, time.Second) / 4
	for end := time.Now().Add(a.options.Grace); time.Now().Before(end); {
		select {
		case <-ctx.Done():
			return false, context.Cause(ctx)
		case <-time.After(pause):
		}
		e, err := a.fetchEntry(ctx, v.epoch, v.next)
		if err != nil {
			return false, err
		}
		if e != nil && e.kind == entryChanges {
			return false, inUse(v.holder)
		}
		if e != nil {
			return false, nil // ended: read it
		}
		if _, err := a.loadHead(ctx, v.tag); err == nil {
			return false, nil
		} else if !errors.Is(err, errSame) {
			return false, err
		}
	}
	return true, nil
}

// knock asks the holder to show itself.
func (a *acquisition) knock(ctx context.Context) error {
	b := make([]byte, 16, 16+maxOwner)
	rand.Read(b)
	_, err := a.objects.put(ctx, knockName, append(b, printable(a.o.Owner)...), condition{})
	return err
}

// beat answers whoever knocks, by an entry without changes. That an entry can't
// be made is how a writer that does nothing learns that it was taken over.
func (w *writer) beat(ctx context.Context) {
	o := w.volume.options
	tag := ""
	for t := time.NewTicker(o.Beat); ; {
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
		_, now, err := w.volume.objects.get(ctx, knockName, maxKnock, tag)
		switch {
		case ctx.Err() != nil || errors.Is(err, errSame) || errors.Is(err, errAbsent):
			continue
		case err == nil:
			if err = w.commit(ctx, &request{beat: true}); err == nil {
				tag = now
			}
		}
		if err != nil && ctx.Err() == nil {
			o.Logger.Warn("answer a knock", "error", err)
		}
	}
}

// Release implements host.Writer. What was not synced is lost.
func (w *writer) Release(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("release volume: %w", err)
	}
	w.mu.Lock()
	released := w.released
	w.released = true
	w.changed.Broadcast()
	w.mu.Unlock()
	if released {
		return nil
	}
	err := w.release(ctx)
	w.stop()
	w.work.Wait()
	w.dir.close()
	if dropErr := w.volume.drop(); err == nil {
		err = dropErr
	}
	if err != nil && !errors.Is(err, host.ErrFenced) {
		return fmt.Errorf("release volume: %w", err)
	}
	return nil
}

// release ships what is to be shipped, and says in the head that nobody holds the
// volume. After a failure it is left held: nobody knows what it is.
func (w *writer) release(ctx context.Context) error {
	if err := w.flushBacklog(ctx); err != nil {
		return err
	}
	w.committing.Lock()
	defer w.committing.Unlock()
	w.mu.Lock()
	failed := w.failed
	w.mu.Unlock()
	if failed != nil {
		if errors.Is(failed, host.ErrFenced) {
			return failed
		}
		return nil // the call that failed said so
	}
	w.tidy(ctx)
	if err := w.fold(ctx, true); err != nil {
		return err
	}
	return w.dir.endJournal()
}

// tidy leaves no object that nobody needs, as far as that can be done: whoever comes
// next finds a volume that was released, and does not look for any.
func (w *writer) tidy(ctx context.Context) {
	err := w.sweepOnce(ctx)
	if err == nil {
		err = w.fold(ctx, false)
	}
	if err == nil {
		err = w.awaitDeletes(ctx)
	}
	if err != nil && ctx.Err() == nil {
		w.volume.options.Logger.Warn("delete what nobody needs", "error", err)
	}
}
