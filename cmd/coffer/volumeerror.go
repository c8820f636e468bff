package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/host"
)

// errVolume is an error that is about a volume, and says so once.
type errVolume struct {
	volume string
	err    error
}

func (e *errVolume) Unwrap() error { return e.err }

// Error names the volume and what is wrong with it. What the parts below were
// doing meanwhile is left out: it is what every command does. So is the kind of
// error where the text before it says the same.
func (e *errVolume) Error() string {
	text := e.err.Error()
	for more := true; more; {
		more = false
		for _, prefix := range e.steps() {
			if rest, ok := strings.CutPrefix(text, prefix+": "); ok {
				text, more = rest, true
			}
		}
	}
	if i := strings.Index(text, store.ErrWrongKey.Error()); i >= 0 {
		text = text[:i+len(store.ErrWrongKey.Error())]
	}
	text = strings.TrimPrefix(text, store.ErrVersion.Error()+": ")
	for _, kind := range []error{host.ErrNotFound, host.ErrExists, host.ErrInUse, store.ErrVersion} {
		text = strings.TrimSuffix(text, ": "+kind.Error())
	}
	return fmt.Sprintf("volume %q: %s", e.volume, text)
}

// steps are what the parts below say that they were doing.
func (e *errVolume) steps() []string {
	return []string{
		"open volume", fmt.Sprintf("open volume %q", e.volume), "acquire volume", "read header",
		"take snapshot", "delete snapshot", "clone snapshot", "open snapshot", "resize",
		"create volume", fmt.Sprintf("create volume %q", e.volume), "check", "scrub", "migrate", "rewrap", "hand over", "withdraw handover", "re-encrypt", "recover volume", "salvage volume", "hold volume", "copy",
		`get storage key "EnclavePersistence"`,
	}
}

// volumeError says which volume is meant.
func volumeError(volume string, err error) error {
	if v := (*errVolume)(nil); err == nil || errors.As(err, &v) {
		return err
	}
	return &errVolume{volume, err}
}

// withClose adds the error of closing a volume, unless it says the same again.
func withClose(err, closeErr error) error {
	if err != nil && closeErr != nil && classify(err).code == classify(closeErr).code {
		return err
	}
	return errors.Join(err, closeErr)
}
