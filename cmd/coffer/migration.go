package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/coffer-fs/coffer"
	"github.com/coffer-fs/coffer/config"
	"github.com/coffer-fs/coffer/control"
	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/migrate"
)

// Whoever has a volume open migrates it himself: no key passes through the socket, only
// which configuration is meant, by its hash. A mount, which a release enclave never is,
// reads it from the machine's files as the one who asks could; see docs/threat-model.md.

const (
	pathMigrateStart = "/v1/migrate/start"
	pathMigrateState = "/v1/migrate/state"
	pathMigrateSteer = "/v1/migrate/steer"
)

// migrateRequest asks for a migration to a configuration.
type migrateRequest struct {
	Path   string `json:"path"` // absolute
	Hash   string `json:"hash"` // SHA-256 of the configuration, hexadecimal
	Rewrap bool   `json:"rewrap,omitempty"`
	Resume bool   `json:"resume,omitempty"` // let it go on if it is paused
	Rate   int64  `json:"rateBytesPerSecond,omitempty"`
}

// steerRequest changes the course of the migration under way. Of the first three at
// most one is set.
type steerRequest struct {
	Pause   bool   `json:"pause,omitempty"`
	Resume  bool   `json:"resume,omitempty"`
	CallOff bool   `json:"callOff,omitempty"`
	Rate    *int64 `json:"rateBytesPerSecond,omitempty"` // 0 is no limit
}

// migrateState is how a migration stands, under way or ended.
type migrateState struct {
	Running        bool             `json:"running"`
	Found          string           `json:"found,omitempty"` // how the volume stood before
	Rewrap         bool             `json:"rewrap"`
	Phase          migrate.Phase    `json:"phase,omitempty"`
	Paused         bool             `json:"paused"`
	CalledOff      bool             `json:"calledOff"`
	Done           int64            `json:"doneBytes"`
	Total          int64            `json:"totalBytes"`
	Rate           int64            `json:"rateBytesPerSecond"` // limit; 0 is none
	BytesPerSecond int64            `json:"bytesPerSecond"`
	SecondsLeft    float64          `json:"secondsLeft"` // 0: not known
	Bytes          int64            `json:"bytes"`       // sealed anew, at the end
	Seconds        float64          `json:"seconds"`
	Failure        *control.Failure `json:"failure,omitempty"`
}

// migration is the one of a volume that this process has open.
type migration struct {
	task control.Task

	mu     sync.Mutex // guards all below
	steer  *migrate.Control
	to     string // hash of the configuration
	rewrap bool
	sum    migrate.Summary
}

// errNoMigration: there is nothing to be steered.
var errNoMigration = errors.New("no migration of it is under way")

// start begins a migration, or finds that it is under way.
func (m *migration) start(in migrateRequest, do func(context.Context, *migrate.Control) (migrate.Summary, error)) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.task.State().Running && m.to == in.Hash && m.rewrap == in.Rewrap {
		if in.Rate != 0 {
			m.steer.SetRate(in.Rate)
		}
		if in.Resume {
			m.steer.Resume()
		}
		return nil
	}
	c := &migrate.Control{}
	c.SetRate(in.Rate)
	err := m.task.Start(func(ctx context.Context) error {
		sum, err := do(ctx, c)
		m.mu.Lock()
		defer m.mu.Unlock()
		m.sum = sum
		return err
	})
	if errors.Is(err, control.ErrBusy) {
		return coffer.ErrMigrating
	}
	m.steer, m.to, m.rewrap, m.sum = c, in.Hash, in.Rewrap, migrate.Summary{}
	return err
}

// state says how it stands. tell is how a failure is told.
func (m *migration) state(tell func(error) *control.Failure) migrateState {
	task := m.task.State() // before the rest, which is final once it has ended
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.steer == nil {
		return migrateState{}
	}
	st := m.steer.State()
	r := migrateState{
		Running: task.Running, Rewrap: m.rewrap, Phase: st.Phase, Paused: st.Paused, CalledOff: st.CalledOff,
		Done: st.Progress.DoneBytes, Total: st.Progress.TotalBytes, Rate: st.Rate,
		BytesPerSecond: int64(st.BytesPerSecond), SecondsLeft: st.Left.Seconds(), Seconds: time.Since(task.Began).Seconds(),
	}
	if !task.Running {
		r.Found, r.Bytes, r.Seconds, r.CalledOff = m.sum.Found.String(), m.sum.Bytes, m.sum.Took.Seconds(), m.sum.CalledOff
		if task.Err != nil {
			r.Failure = tell(task.Err)
		}
	}
	return r
}

// change steers the migration under way.
func (m *migration) change(in steerRequest) error {
	m.mu.Lock()
	c := m.steer
	m.mu.Unlock()
	if c == nil || !m.task.State().Running {
		return errNoMigration
	}
	if in.Rate != nil {
		c.SetRate(*in.Rate)
	}
	switch {
	case in.Pause:
		c.Pause()
	case in.Resume:
		c.Resume()
	case in.CallOff:
		return c.CallOff()
	}
	return nil
}

// handle answers how it stands, and lets it be steered.
func (m *migration) handle(mux *http.ServeMux, tell func(error) *control.Failure) {
	control.Handle(mux, pathMigrateState, func(context.Context, empty) (migrateState, error) { return m.state(tell), nil }, tell)
	control.Handle(mux, pathMigrateSteer, func(_ context.Context, in steerRequest) (migrateState, error) {
		err := m.change(in)
		return m.state(tell), err
	}, tell)
}

// startMigration migrates the volume of a mount, in the background.
func (s volumeService) startMigration(_ context.Context, in migrateRequest) (empty, error) {
	to, err := s.migrationConfig(in)
	if err != nil {
		return empty{}, err
	}
	return empty{}, s.migration.start(in, func(ctx context.Context, c *migrate.Control) (migrate.Summary, error) {
		return s.v.Migrate(ctx, to, coffer.MigrateOptions{Rewrap: in.Rewrap, Control: c})
	})
}

// takeUp re-encrypts a volume that was handed over, beside its use.
func (m *migration) takeUp(v *coffer.Volume) {
	o := v.Options()
	err := m.start(migrateRequest{Hash: hashText(o.Config)}, func(ctx context.Context, c *migrate.Control) (migrate.Summary, error) {
		sum, err := v.Reencrypt(ctx, coffer.MigrateOptions{Control: c})
		if err != nil && ctx.Err() == nil {
			o.Logger.Error("the volume that was handed over is not under this enclave's own key yet: coffer migrate, or the next mount, goes on", "error", err)
		}
		return sum, err
	})
	if err != nil {
		o.Logger.Error("re-encrypt the volume that was handed over", "error", err)
	}
}

// migrationConfig is the configuration that is asked for: the one that the volume is
// open with, or one of the machine's files.
func (s volumeService) migrationConfig(in migrateRequest) (*config.Config, error) {
	o := s.v.Options()
	if in.Hash == hashText(o.Config) {
		return o.Config, nil
	}
	if o.Platform.Mode() == attest.Release {
		return nil, errMountInRelease
	}
	to, err := loadConfig(in.Path, o.Logger)
	if err != nil {
		return nil, err
	}
	if hashText(to) != in.Hash {
		return nil, &failure{exitConfig, fmt.Errorf("configuration %q is not the one that was asked for", in.Path), "was it just changed? Try again"}
	}
	if spec := to.PersistenceKeySpec(); spec != nil && spec.Own.CodeHash {
		return nil, &failure{
			exitConfig, fmt.Errorf("configuration %q has useOwnCodeHash, and this mount is another enclave: the key would be its own", in.Path),
			"unmount the volume, and let the new enclave migrate it: coffer migrate VOLUME --config OLD --to NEW; docs/operations.md tells of handovers",
		}
	}
	return to, nil
}

func hashText(c *config.Config) string {
	h := c.Hash()
	return hex.EncodeToString(h[:])
}
