package s3

import (
	"context"
	"fmt"
)

// Status is what can be told of a volume without a key.
type Status struct {
	Held  bool
	Owner string // of the holder
	Local bool   // the holder acknowledges what is on its own disk only
	Bytes int64  // of segments
	// Lag is what the store lacks of what was acknowledged from Options.Dir. Its
	// Age is not known.
	Lag Lag
}

// Status asks the store, and looks into the journal of Options.Dir.
func (v *Volume) Status(ctx context.Context) (st Status, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if err := v.refresh(ctx, true); err != nil {
		return st, fmt.Errorf("status: %w", err)
	}
	s := v.view.state
	st = Status{Held: s.held, Owner: s.holder.owner, Local: s.held && s.holder.local}
	for _, g := range s.segments {
		st.Bytes += int64(g.tail)
	}
	if v.options.Dir == "" {
		return st, nil
	}
	j, err := (&dir{path: v.options.Dir}).readJournal()
	if err != nil {
		return st, fmt.Errorf("status: %w", err)
	}
	for _, e := range s.lacks(j) {
		st.Lag.Changes++
		for _, c := range e.changes {
			st.Lag.Bytes += int64(c.size)
		}
	}
	return st, nil
}
