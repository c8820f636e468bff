package local

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/coffer-fs/coffer/store/host"
)

// forgetName is a file that is there while nothing of a deleted segment may be kept.
const forgetName = "forget"

// Forget implements host.Forgetter:
//
//  1. with more, say so in the directory, so that later writers know
//  2. remove the files that are kept for new segments, catalogs that were replaced, copies
//     of segments that were cut off, and what came of a transfer that was
//  3. overwrite the pages of the catalog that nothing refers to
//  4. make all of that durable, deletes of before too
//  5. without more, take back what the directory says
//
// Points keep the records that were at them, and files of segments that are deleted:
// while there is one, or a transfer is under way, the error is ErrHeld, after all that
// could be done was done.
//
// A removed file's blocks belong to the file system, which may give them to
// anybody without having overwritten them.
func (w *writer) Forget(ctx context.Context, more bool) error {
	w.prepareMu.Lock() // no spare is being filled
	defer w.prepareMu.Unlock()
	err := w.changing(ctx, func() error {
		if err := w.tree.forget(ctx, more); err != nil {
			return err
		}
		w.tree.files.forgetAll() // an open file would keep its blocks
		return nil
	})
	if err != nil {
		return fmt.Errorf("forget what was deleted: %w", err)
	}
	return nil
}

// Forgetting implements host.Forgetter.
func (w *writer) Forgetting() bool { return w.tree.forgets() }

func (t *tree) forget(ctx context.Context, more bool) error {
	if more {
		f, err := openFile(t.root, forgetName, unix.O_RDWR|unix.O_CREAT)
		if err == nil {
			err = f.Close()
		}
		if err == nil {
			err = t.root.Sync()
		}
		if err != nil {
			return err
		}
	}
	if _, err := t.removeSpares(); err != nil {
		return err
	}
	if err := errors.Join(t.removeOldCatalogs(), t.removeCopies()); err != nil {
		return err
	}
	held := t.removeIncoming()
	if held != nil && !errors.Is(held, host.ErrHeld) {
		return held
	}
	if err := t.catalog.blank(ctx); err != nil {
		return err
	}
	if err := errors.Join(t.segments.Sync(), t.root.Sync()); err != nil {
		return err
	}
	if err := cmp.Or(held, t.refuseIfPoints()); err != nil || more {
		return err
	}
	if err := removeAt(t.root, forgetName, 0); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return t.root.Sync()
}

// refuseIfPoints fails with ErrHeld if there are points.
func (t *tree) refuseIfPoints() error {
	infos, _, err := t.listPoints()
	if err != nil || len(infos) == 0 {
		return err
	}
	var names []string
	for _, i := range infos {
		names = append(names, strconv.Quote(i.Name))
	}
	return fmt.Errorf("%d points of the volume keep what was at them, drop them first: %s: %w", len(names), strings.Join(names, ", "), host.ErrHeld)
}

// forgets reports whether nothing of a deleted segment may be kept.
func (t *tree) forgets() bool { return exists(t.root, forgetName) }

// removeOldCatalogs removes catalogs that a recovery replaced, or was making when it
// was cut off.
func (t *tree) removeOldCatalogs() error {
	names, err := readNames(t.root)
	if err != nil {
		return err
	}
	for _, name := range names {
		if !strings.HasPrefix(name, catalogKeptPrefix) && !strings.HasPrefix(name, catalogNewPrefix) {
			continue
		}
		if err := removeAll(t.root, name); err != nil {
			return err
		}
	}
	return nil
}

// removeCopies removes what a crash left of segments that were being copied.
func (t *tree) removeCopies() error {
	t.copies.Lock()
	defer t.copies.Unlock()
	names, err := readNames(t.segments)
	for _, name := range names {
		segment, ok := strings.CutSuffix(name, copySuffix)
		if _, is := parseSegmentName(segment); ok && is {
			err = errors.Join(err, removeAt(t.segments, name, 0))
		}
	}
	return err
}

// removeIncoming removes what came of a transfer that was to bring the volume to a later
// point: it can't go on, because the volume is being written. What else somebody put
// there stays. ErrHeld if a transfer is under way, which a takeover may leave so.
func (t *tree) removeIncoming() error {
	stage, err := lockStage(t.root)
	switch {
	case errors.Is(err, os.ErrNotExist) || isNotDirectory(err):
		return nil
	case errors.Is(err, host.ErrInUse):
		return fmt.Errorf("a transfer into the volume is under way: %w", host.ErrHeld)
	case err != nil:
		return err
	}
	defer stage.Close()
	if err := removeStaged(t.root, incomingName); err != unix.ENOTEMPTY {
		return err
	}
	return nil
}

// removeAll removes a file, or a directory that is no catalog but has its name.
func removeAll(dir *os.File, name string) error {
	err := removeAt(dir, name, 0)
	if err == unix.EISDIR {
		err = removeAt(dir, name, unix.AT_REMOVEDIR)
	}
	if err == unix.ENOTEMPTY {
		err = nil // it never was ours
	}
	return err
}
