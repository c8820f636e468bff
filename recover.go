package coffer

import (
	"context"

	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/host"
)

// Recover makes the records of a volume anew from what is left of it on r, and asks the
// anchor that the configuration names: see store.Recover. It changes nothing. Of ro,
// the options of opening the volume are set by o, whose Volume is not used.
func Recover(ctx context.Context, o Options, r host.Reader, ro store.RecoverOptions) (store.Recovery, error) {
	so, a, err := o.anchored(store.Options{Unlocker: o.unlocker(), Logger: o.Logger})
	if err != nil {
		return store.Recovery{}, err
	}
	defer closeAnchor(a)
	ro.Options = so
	return store.Recover(ctx, r, ro)
}
