package migrate

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Why a Control does not do what it is asked.
var (
	// ErrLastStep: the old key is being dropped, or was: there is no way back.
	ErrLastStep = errors.New("the migration is at its last step: it can't be called off any more")
	// ErrNoWayBack: Options.Back is not given.
	ErrNoWayBack = errors.New("the key to go back to is not known")
)

// Control steers one migration from outside while it runs, and tells where it is. Its
// methods may be called at any time. The zero value lets it go on as fast as it can.
type Control struct {
	mu      sync.Mutex              // guards all below
	stop    context.CancelCauseFunc // ends the rekeying under way; nil if there is none
	changed chan struct{}           // closed when any of the next three changes
	paused  bool
	rate    int64 // bytes a second; 0 is no limit
	back    bool  // it was called off
	oneWay  bool  // it can't be
	state   State
	meter   meter
	due     time.Time // when the rate allows more
}

// Phase is what a migration is doing.
type Phase string

// The phases, in their order. A migration that is called off goes through the first
// three again.
const (
	Beginning Phase = "beginning" // a slot for the new key
	Sealing   Phase = "sealing"   // everything is sealed anew
	Dropping  Phase = "dropping"  // the old key goes
	Ended     Phase = "ended"
)

// State is where a migration is.
type State struct {
	Phase    Phase
	Progress Progress
	// Paused: it waits for Resume.
	Paused bool
	// CalledOff: it brings the volume back under the key it came from.
	CalledOff bool
	// Rate is the limit in bytes a second; 0 if there is none.
	Rate int64
	// BytesPerSecond is how fast it was lately.
	BytesPerSecond float64
	// Left is how long the rest takes at that pace; 0 if that is not known.
	Left time.Duration
}

// What ends a rekeying before its time.
var (
	errPaused    = errors.New("paused")
	errCalledOff = errors.New("called off")
)

// State returns where the migration is.
func (c *Control) State() State {
	c.mu.Lock()
	defer c.mu.Unlock()
	st := c.state
	st.Paused, st.CalledOff, st.Rate = c.paused, c.back, c.rate
	if st.Phase == Sealing && !c.paused {
		st.BytesPerSecond = c.meter.perSecond(time.Now())
		if left := st.Progress.TotalBytes - st.Progress.DoneBytes; st.BytesPerSecond >= 1 {
			st.Left = time.Duration(float64(left) / st.BytesPerSecond * float64(time.Second))
		}
	}
	return st
}

// Pause holds the migration until Resume. The volume goes on being used, and may be
// closed: a migration that is held is one that was cut off.
func (c *Control) Pause() { c.change(errPaused, func() { c.paused = true }) }

// Resume lets the migration go on.
func (c *Control) Resume() { c.change(nil, func() { c.paused = false }) }

// SetRate bounds how much is sealed anew, in bytes a second; 0 or less is no bound.
func (c *Control) SetRate(bytesPerSecond int64) {
	c.change(nil, func() { c.rate, c.due = max(0, bytesPerSecond), time.Time{} })
}

// CallOff has the migration bring the volume back under Options.Back. It returns at
// once; the migration ends when the volume has one key again. ErrLastStep,
// ErrNoWayBack.
func (c *Control) CallOff() error {
	c.mu.Lock()
	late := c.state.Phase == Dropping || c.state.Phase == Ended
	again, oneWay := c.back, c.oneWay
	c.mu.Unlock()
	switch {
	case again:
		return nil
	case oneWay:
		return ErrNoWayBack
	case late:
		return ErrLastStep
	}
	c.change(errCalledOff, func() { c.back, c.paused = true, false })
	return nil
}

// change changes something, and ends the rekeying under way if cause is not nil.
func (c *Control) change(cause error, do func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	do()
	if c.changed != nil {
		close(c.changed)
		c.changed = nil
	}
	if cause != nil && c.stop != nil {
		c.stop(cause)
	}
}

// wait returns a channel that is closed at the next change. Callers hold mu.
func (c *Control) wait() <-chan struct{} {
	if c.changed == nil {
		c.changed = make(chan struct{})
	}
	return c.changed
}

// begin waits while the migration is paused, and returns the context of the rekeying
// that follows. errCalledOff if it was called off and that is not known yet.
func (c *Control) begin(ctx context.Context, back bool) (context.Context, error) {
	for {
		c.mu.Lock()
		if c.back && !back {
			c.mu.Unlock()
			return nil, errCalledOff
		}
		if !c.paused {
			defer c.mu.Unlock()
			c.meter = meter{}
			ctx, c.stop = context.WithCancelCause(ctx)
			return ctx, nil
		}
		changed := c.wait()
		c.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// end takes back what begin gave, and says why it ended early, nil if it did not.
func (c *Control) end(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	cause := context.Cause(ctx)
	c.stop(nil)
	c.stop = nil
	return cause
}

// lastStep closes the way back. errCalledOff if it was taken just before.
func (c *Control) lastStep(back bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.back && !back {
		return errCalledOff
	}
	c.state.Phase = Dropping
	return nil
}

// start is told what the migration can do.
func (c *Control) start(oneWay bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.oneWay = oneWay
}

func (c *Control) isCalledOff(back bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.back && !back
}

func (c *Control) enter(p Phase) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state.Phase = p
}

func (c *Control) progress(p Progress) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state.Progress = p
}

// pace is told what was moved, and waits until the rate allows more.
func (c *Control) pace(ctx context.Context, bytes int64) error {
	c.mu.Lock()
	c.meter.add(time.Now(), bytes)
	if c.rate > 0 {
		if now := time.Now(); c.due.Before(now) {
			c.due = now
		}
		c.due = c.due.Add(time.Duration(float64(bytes) / float64(c.rate) * float64(time.Second)))
	}
	for {
		rest, changed := time.Until(c.due), c.wait()
		if c.rate == 0 || rest <= 0 {
			c.mu.Unlock()
			return nil
		}
		c.mu.Unlock()
		t := time.NewTimer(rest)
		select {
		case <-t.C:
		case <-changed:
		case <-ctx.Done():
		}
		t.Stop()
		if err := ctx.Err(); err != nil {
			return err
		}
		c.mu.Lock()
	}
}

// meter measures how fast bytes pass: over the last while, in slots.
type meter struct {
	slots [meterSlots]int64
	last  int64 // number of the newest slot; 0 if there is none
	first int64 // number of the slot in which it began
}

const (
	meterSlots = 10
	meterSlot  = time.Second
)

func (m *meter) add(now time.Time, bytes int64) {
	m.advance(now)
	m.slots[m.last%meterSlots] += bytes
}

// advance empties the slots between the newest one and now.
func (m *meter) advance(now time.Time) {
	n := now.UnixNano() / int64(meterSlot)
	if m.last == 0 {
		m.first, m.last = n, n
	}
	for m.last < n {
		m.last++
		m.slots[m.last%meterSlots] = 0
		if n-m.last > meterSlots {
			m.last = n - meterSlots
		}
	}
}

func (m *meter) perSecond(now time.Time) float64 {
	if m.last == 0 {
		return 0
	}
	m.advance(now)
	var sum int64
	for _, s := range m.slots {
		sum += s
	}
	begin := max(m.first, m.last-meterSlots+1) * int64(meterSlot)
	span := max(now.UnixNano()-begin, int64(meterSlot))
	return float64(sum) / (float64(span) / float64(time.Second))
}
