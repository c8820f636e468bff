package cluster

import (
	"context"
	"fmt"
)

// changing is a lock that is held while the store is asked, so that who waits for
// it may give up.
type changing chan struct{}

func newChanging() changing { return make(changing, 1) }

// lock waits until ctx ends. ErrBusy.
func (c changing) lock(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", ErrBusy, err)
	}
	select {
	case c <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrBusy, ctx.Err())
	}
}

func (c changing) unlock() { <-c }

// changed does something that changes the state.
func (n *Node) changed(ctx context.Context, do func() error) error {
	if err := n.changing.lock(ctx); err != nil {
		return err
	}
	defer n.changing.unlock()
	return do()
}
