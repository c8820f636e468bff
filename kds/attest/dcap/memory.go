package dcap

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Mark is how new a piece of verified collateral is.
type Mark struct {
	Subject string    // what it is about
	Issued  time.Time // when
	Number  uint32    // its evaluation data number, 0 if it has none
}

// Memory remembers the newest collateral that was seen, because the host's
// clock may lie and its collateral may be old. Methods may be called at once.
type Memory interface {
	// Newest is the latest date of all marks, the zero time if there is none:
	// it cannot be earlier than that.
	Newest(ctx context.Context) (time.Time, error)

	// Advance refuses with ErrOlder if one of marks is older, by date or by
	// number, than the newest of its subject, and otherwise remembers them all.
	Advance(ctx context.Context, marks []Mark) error
}

// ram is the memory of one process.
type ram struct {
	mu     sync.Mutex
	newest time.Time
	marks  map[string]Mark
}

// NewMemory is a memory that ends with the process.
func NewMemory() Memory { return &ram{marks: map[string]Mark{}} }

// Newest implements Memory.
func (m *ram) Newest(context.Context) (time.Time, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.newest, nil
}

// Advance implements Memory.
func (m *ram) Advance(_ context.Context, marks []Mark) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, k := range marks {
		if err := k.check(m.marks[k.Subject]); err != nil {
			return err
		}
		if _, known := m.marks[k.Subject]; !known && len(m.marks) >= MaxSubjects {
			return fmt.Errorf("memory of collateral is full: %d subjects", len(m.marks))
		}
	}
	for _, k := range marks {
		m.marks[k.Subject] = k
		if k.Issued.After(m.newest) {
			m.newest = k.Issued
		}
	}
	return nil
}

// check refuses k if it is older than the newest of its subject.
func (k Mark) check(newest Mark) error {
	switch {
	case k.Issued.Before(newest.Issued):
		return fmt.Errorf("%w: %s was issued at %s, and one of %s was seen", ErrOlder, k.Subject, stamp(k.Issued), stamp(newest.Issued))
	case k.Number < newest.Number:
		return fmt.Errorf("%w: %s has evaluation data number %d, and %d was seen", ErrOlder, k.Subject, k.Number, newest.Number)
	}
	return nil
}
