// Package ledger is a map that the nodes of a cluster keep in a store which
// nobody trusts, and that never goes back.
//
// Its root holds a number, the hash of the root before, and a hash for each of
// 256 buckets of values, and is authenticated with a key of the master key. So
// the whole map is one number and one hash, and nothing in it can be older than
// its root. The nodes remember the newest root they were shown: a change counts
// when most of them have it, and every reading asks most of them. Any two
// majorities have a node in common, so a store that shows an older root, or
// another one, is found out.
//
// It promises that what Get returns was true after Get began, as far as most
// members still have their memory; that an Update that returned nil is durable
// and known to most; and that after any other error but ErrConflict, ErrFull and those
// of the change itself it is unknown whether it happened.
//
// Imported by kds/cluster. Imports kds/cluster/kv and kds.
package ledger

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/cluster/kv"
	"github.com/coffer-fs/coffer/key"
)

// Limits of a ledger.
const (
	// MaxMembers is how many nodes remember the newest root.
	MaxMembers = 64
	// MaxInBucket is how many values a bucket has; there are 256.
	MaxInBucket = 1024
	// MaxBucketBytes is the largest bucket.
	MaxBucketBytes = 256 << 10
	// tries is how often an Update begins anew because others were faster.
	tries = 64
	// patience is how often a root is read again that members call old: it may
	// have been replaced between reading and asking.
	patience = 8
)

var (
	// ErrOlder: the store shows an older root, or another one, than most nodes
	// have seen.
	ErrOlder = errors.New("cluster store went back, or has another history")
	// ErrForged: what the store shows was not made by a node of the cluster.
	ErrForged = errors.New("cluster store shows what no node made")
	// ErrNoMajority: too few nodes could be asked.
	ErrNoMajority = errors.New("most nodes of the cluster cannot be asked")
	// ErrConflict: others changed the map all the time. Nothing happened.
	ErrConflict = errors.New("cluster store is changed by others all the time")
	// ErrFull: there is no room.
	ErrFull = errors.New("no room in the cluster store")
)

// Keys are the master keys that authenticate roots.
type Keys interface {
	Current() kds.Generation
	Key(ctx context.Context, g kds.Generation) (key.Key, error)
}

// Witness asks members whether a root is not older than what they have seen,
// and has them remember it. ErrOlder, ErrNoMajority.
type Witness interface {
	Confirm(ctx context.Context, members []string, h Head) error
}

// Ledger is the map.
type Ledger struct {
	store   kv.Store
	keys    Keys
	witness Witness

	changing sync.Mutex // held during an Update: one at a time on this node
	mu       sync.Mutex // guards last
	last     Head       // the newest root that a majority confirmed to this node
}

// New makes the map of a store.
func New(s kv.Store, k Keys, w Witness) *Ledger { return &Ledger{store: s, keys: k, witness: w} }

const rootName = "ledger/root"

func bucketName(i byte) string { return fmt.Sprintf("ledger/bucket/%02x", i) }

// Tx is what a change sees and does.
type Tx struct {
	root    *Root
	buckets map[byte]bucket
	dirty   map[byte]bool
}

// Get is the value of a name that the Update or View was opened for.
func (t *Tx) Get(name string) []byte { return t.bucket(name)[name] }

// Put changes a value; nil removes it.
func (t *Tx) Put(name string, b []byte) {
	m := t.bucket(name)
	if b == nil {
		delete(m, name)
	} else {
		m[name] = b
	}
	t.dirty[index(name)] = true
}

// Root may be changed by an Update: its members and what was forgotten.
func (t *Tx) Root() *Root { return t.root }

func (t *Tx) bucket(name string) bucket {
	m, ok := t.buckets[index(name)]
	if !ok {
		panic("ledger: value that was not asked for")
	}
	return m
}

// View shows f the values under names.
func (l *Ledger) View(ctx context.Context, names []string, f func(*Tx) error) error {
	for try := 0; ; try++ {
		t, _, err := l.read(ctx, names)
		if err != nil {
			return err
		}
		err = l.confirm(ctx, t.root)
		if errors.Is(err, ErrOlder) && try < patience {
			if err := pause(ctx); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		return f(t)
	}
}

// Peek is the root that the store shows, authentic, and perhaps old.
func (l *Ledger) Peek(ctx context.Context) (*Root, error) {
	t, _, err := l.read(ctx, nil)
	if err != nil {
		return nil, err
	}
	return t.root, nil
}

// Update has f change values under names, and may call it several times.
func (l *Ledger) Update(ctx context.Context, names []string, f func(*Tx) error) error {
	return l.update(ctx, names, f, false)
}

// Force is Update without asking the members first that are there before it:
// an operator decided that some are gone. This node's own memory still counts.
func (l *Ledger) Force(ctx context.Context, f func(*Tx) error) error {
	return l.update(ctx, nil, f, true)
}

func (l *Ledger) update(ctx context.Context, names []string, f func(*Tx) error, force bool) error {
	l.changing.Lock()
	defer l.changing.Unlock()
	for try := range tries {
		if try > 0 {
			if err := pause(ctx); err != nil {
				return err
			}
		}
		t, revision, err := l.read(ctx, names)
		if err != nil {
			return err
		}
		if !force && !l.known(t.root) {
			err := l.confirm(ctx, t.root)
			if errors.Is(err, ErrOlder) && try < patience {
				continue
			}
			if err != nil {
				return err
			}
		}
		done, err := l.change(ctx, t, revision, f)
		if done || err != nil {
			return err
		}
	}
	return ErrConflict
}

// change makes one attempt.
func (l *Ledger) change(ctx context.Context, t *Tx, revision int64, f func(*Tx) error) (bool, error) {
	before := t.root
	t.root = before.clone()
	if err := f(t); err != nil {
		return false, err
	}
	puts, err := t.seal(before)
	if err != nil {
		return false, err
	}
	t.root.Generation = max(l.keys.Current(), before.Generation)
	mk, err := l.keys.Key(ctx, t.root.Generation)
	if err != nil {
		return false, err
	}
	puts = append(puts, kv.Put{Name: rootName, Data: t.root.encode(mk)})
	done, err := l.store.Commit(ctx, []kv.If{{Name: rootName, Revision: revision}}, puts)
	if errors.Is(err, kv.ErrFull) {
		return false, fmt.Errorf("%w: %w", ErrFull, err)
	}
	if err != nil || !done {
		return false, err
	}
	return true, l.confirm(ctx, t.root)
}

// seal numbers the new root, and gives the buckets that changed.
func (t *Tx) seal(before *Root) ([]kv.Put, error) {
	h := before.Head()
	if t.root.Number = before.Number + 1; before.Number > 0 {
		t.root.Previous = h.Hash
	}
	if len(t.root.Members) > MaxMembers {
		return nil, fmt.Errorf("%w: %d members", ErrFull, len(t.root.Members))
	}
	var puts []kv.Put
	for i := range t.dirty {
		b := t.buckets[i].encode()
		if len(t.buckets[i]) > MaxInBucket || len(b) > MaxBucketBytes {
			return nil, fmt.Errorf("%w: a bucket has %d values", ErrFull, len(t.buckets[i]))
		}
		t.root.buckets[i] = sha256.Sum256(b)
		puts = append(puts, kv.Put{Name: bucketName(i), Data: b})
	}
	return puts, nil
}

// read reads the root and the buckets of names, as they were at one time.
func (l *Ledger) read(ctx context.Context, names []string) (*Tx, int64, error) {
	t := &Tx{buckets: map[byte]bucket{}, dirty: map[byte]bool{}}
	asked := []string{rootName}
	var indexes []byte
	for _, n := range names {
		if i := index(n); t.buckets[i] == nil {
			t.buckets[i] = bucket{}
			indexes, asked = append(indexes, i), append(asked, bucketName(i))
		}
	}
	values, err := l.store.Get(ctx, asked...)
	if err != nil {
		return nil, 0, err
	}
	if t.root, err = l.authentic(ctx, values[0].Data); err != nil {
		return nil, 0, err
	}
	for j, i := range indexes {
		b := values[j+1].Data
		want, there := t.root.buckets[i]
		switch {
		case !there && b == nil:
			continue
		case !there || sha256.Sum256(b) != want:
			return nil, 0, fmt.Errorf("%w: bucket %02x is not the root's", ErrOlder, i)
		}
		if t.buckets[i], err = parseBucket(b); err != nil {
			return nil, 0, fmt.Errorf("%w: bucket %02x: %w", ErrForged, i, err)
		}
	}
	return t, values[0].Revision, nil
}

// authentic reads a root and checks its MAC. No root is the empty one, with
// number 0: whether there must be one the members know.
func (l *Ledger) authentic(ctx context.Context, b []byte) (*Root, error) {
	if b == nil {
		return &Root{buckets: map[byte][sha256.Size]byte{}}, nil
	}
	r, body, tag, err := parseRoot(b)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrForged, err)
	}
	mk, err := l.keys.Key(ctx, r.Generation)
	if err != nil {
		return nil, fmt.Errorf("authenticate the cluster store: %w", err)
	}
	if !hmac.Equal(mac(mk, r.Generation, body), tag) {
		return nil, fmt.Errorf("%w: the MAC of root %d does not match", ErrForged, r.Number)
	}
	return r, nil
}

// confirm asks most members about a root.
func (l *Ledger) confirm(ctx context.Context, r *Root) error {
	h := r.Head()
	if r.Number == 0 {
		h = Head{}
	}
	if err := l.witness.Confirm(ctx, r.Members, h); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if h.Number > l.last.Number {
		l.last = h
	}
	return nil
}

// known reports whether most members confirmed this very root to this node.
func (l *Ledger) known(r *Root) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return r.Number > 0 && l.last == r.Head()
}

// pause lets others go first.
func pause(ctx context.Context) error {
	t := time.NewTimer(time.Millisecond + rand.N(10*time.Millisecond))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
