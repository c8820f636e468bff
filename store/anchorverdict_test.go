package store_test

import (
	"errors"
	"testing"

	"github.com/coffer-fs/coffer/store"
)

// Every rule of docs/format.md, "Anchor", and what just misses it.
func TestAnchorVerdict(t *testing.T) {
	at := store.PointAt
	other := func(s store.AnchorState) store.AnchorState { s.Hash[0]++; return s }
	for _, c := range []struct {
		name  string
		found store.Recovered
		now   store.AnchorState
		want  error
	}{
		{"first use", store.Recovered{Root: 1, Bare: true}, store.AnchorState{}, store.ErrAnchorFirstUse},
		{"lost", store.Recovered{Root: 9, Log: 20, Head: 22}, store.AnchorState{}, store.ErrAnchorLost},
		{"from before its anchor", store.Recovered{Root: 9, Log: 20, Head: 22, Bare: true}, at(3, 9, 21), store.ErrRolledBack},

		{"the root, and a batch behind it", store.Recovered{Root: 9, Log: 20, Head: 22}, at(3, 9, 21), nil},
		{"the root alone", store.Recovered{Root: 9, Log: 20, Head: 20}, at(3, 9, 20), nil},
		{"the last batch", store.Recovered{Root: 9, Log: 20, Head: 22}, at(3, 9, 22), nil},
		{"a batch is missing", store.Recovered{Root: 9, Log: 20, Head: 22}, at(3, 9, 23), store.ErrRolledBack},
		{"another root or batch of that number", store.Recovered{Root: 9, Log: 20, Head: 22}, other(at(3, 9, 21)), store.ErrForked},

		{"the root before, and a batch of this one's log", store.Recovered{Root: 9, Log: 20, Head: 22}, at(3, 8, 20), nil},
		{"another root before", store.Recovered{Root: 9, Log: 20, Head: 22}, other(at(3, 8, 20)), store.ErrForked},
		{"a root is missing", store.Recovered{Root: 9, Log: 20, Head: 22}, at(3, 10, 22), store.ErrRolledBack},

		{"what the root knew", store.Recovered{Root: 9, Log: 20, Head: 22, Confirmed: at(2, 4, 11)}, at(2, 4, 11), nil},
		{"what the root knew to be asked", store.Recovered{Root: 9, Log: 20, Head: 22, Confirmed: at(2, 4, 11), Pending: at(2, 6, 13)}, at(2, 6, 13), nil},
		{"what the root did not know", store.Recovered{Root: 9, Log: 20, Head: 22, Confirmed: at(2, 4, 11)}, at(2, 6, 13), store.ErrForked},
		{"the same point in another epoch", store.Recovered{Root: 9, Log: 20, Head: 22, Confirmed: at(2, 4, 11)}, at(3, 4, 11), store.ErrForked},
		{"what the root knew, but the log was cut off since", store.Recovered{Root: 9, Log: 20, Head: 22, Confirmed: at(2, 8, 23)}, at(2, 8, 23), store.ErrRolledBack},
		{"what the root knew to be asked, and cut off", store.Recovered{Root: 9, Log: 20, Head: 22, Pending: at(2, 8, 23)}, at(2, 8, 23), store.ErrRolledBack},
		{"the anchor was rolled back itself", store.Recovered{Root: 9, Log: 20, Head: 22, Confirmed: at(2, 8, 19)}, at(2, 4, 11), store.ErrForked},
		{"nothing pending is no permission", store.Recovered{Root: 9, Log: 20, Head: 22, Confirmed: at(2, 8, 19)}, store.AnchorState{}, store.ErrAnchorLost},
	} {
		if err := c.found.Verdict(c.now); !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}
