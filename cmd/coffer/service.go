package main

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/coffer-fs/coffer"
	"github.com/coffer-fs/coffer/control"
	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/host"
)

// What can be asked of a volume whether it is mounted or not. If somebody serves it
// he is asked, since nobody else can open it; else it is opened.

// Paths of what whoever has a volume mounted can be asked for. A path is never used
// for something else.
const (
	pathSnapshotCreate = "/v1/snapshot/create"
	pathSnapshotList   = "/v1/snapshot/list"
	pathSnapshotShow   = "/v1/snapshot/show"
	pathSnapshotDelete = "/v1/snapshot/delete"
	pathSnapshotClone  = "/v1/snapshot/clone"
	pathResize         = "/v1/resize"
	pathHandover       = "/v1/handover"
)

type nameRequest struct {
	Name string `json:"name"`
}

type cloneRequest struct {
	Name string `json:"name"`
	To   string `json:"to"` // directory of the new volume, absolute
}

type resizeRequest struct {
	Bytes int64 `json:"bytes"` // 0: as the configuration says
}

type empty struct{}

// snapshotResult describes a snapshot to a program.
type snapshotResult struct {
	Name  string    `json:"name"`
	Time  time.Time `json:"time"`
	Bytes int64     `json:"bytesInUse"` // when it was taken
	// Held is what was replaced since, up to the next newer snapshot; of show only.
	Held  *int64 `json:"heldBytes,omitempty"`
	Items *int64 `json:"heldItems,omitempty"`
}

type resizeResult struct {
	Bytes  int64 `json:"capacityBytes"`
	Before int64 `json:"beforeBytes"`
	Used   int64 `json:"usedBytes"`
}

func newSnapshotResult(p store.Snapshot) snapshotResult {
	return snapshotResult{Name: p.Name, Time: p.Time, Bytes: p.Bytes}
}

// volumeService does it to a volume that is open.
type volumeService struct {
	v         *coffer.Volume
	migration *migration // of a mount
}

func (s volumeService) create(ctx context.Context, in nameRequest) (snapshotResult, error) {
	p, err := s.v.Tree().TakeSnapshot(ctx, in.Name)
	return newSnapshotResult(p), err
}

func (s volumeService) list(context.Context, empty) ([]snapshotResult, error) {
	list := []snapshotResult{}
	for _, p := range s.v.Snapshots() {
		list = append(list, newSnapshotResult(p))
	}
	return list, nil
}

func (s volumeService) show(ctx context.Context, in nameRequest) (snapshotResult, error) {
	p, err := s.v.Store().FindSnapshot(in.Name)
	if err != nil {
		return snapshotResult{}, err
	}
	held, err := s.v.Store().SnapshotHeld(ctx, p.ID)
	r := newSnapshotResult(p)
	r.Held, r.Items = &held.Bytes, &held.Items
	return r, err
}

// remove returns when the space is given back.
func (s volumeService) remove(ctx context.Context, in nameRequest) (empty, error) {
	if err := s.v.Store().DeleteSnapshot(ctx, in.Name); err != nil {
		return empty{}, err
	}
	return empty{}, s.v.Store().ReapSnapshots(ctx)
}

// clone makes a volume of a snapshot, or nothing.
func (s volumeService) clone(ctx context.Context, in cloneRequest) (out snapshotResult, err error) {
	p, err := s.v.Store().FindSnapshot(in.Name)
	if err != nil {
		return out, err
	}
	out = newSnapshotResult(p)
	o := s.v.Options()
	secret, err := coffer.NewSecret(ctx, o)
	if err != nil {
		return out, err
	}
	defer secret.Key.Destroy()
	return out, hostFlags{}.makeVolume(ctx, in.To, func(v host.Volume) error {
		o.Volume = v
		return s.v.CloneSnapshot(ctx, in.Name, o, secret, nil)
	})
}

func (s volumeService) resize(ctx context.Context, in resizeRequest) (resizeResult, error) {
	r := resizeResult{Before: s.v.Store().Space().Capacity}
	err := s.v.Resize(ctx, in.Bytes)
	after := s.v.Store().Space()
	r.Bytes, r.Used = after.Capacity, after.Used
	return r, err
}

// handler answers for a volume that is mounted.
func (s volumeService) handler(volume string, j *scrubJob) http.Handler {
	mux := http.NewServeMux()
	tell := tellFor(volume)
	control.Handle(mux, pathSnapshotCreate, s.create, tell)
	control.Handle(mux, pathSnapshotList, s.list, tell)
	control.Handle(mux, pathSnapshotShow, s.show, tell)
	control.Handle(mux, pathSnapshotDelete, s.remove, tell)
	control.Handle(mux, pathSnapshotClone, s.clone, tell)
	control.Handle(mux, pathResize, s.resize, tell)
	control.Handle(mux, pathScrubStart, j.start, tell)
	control.Handle(mux, pathScrubStatus, j.ask, tell)
	control.Handle(mux, pathScrubStop, j.cancel, tell)
	control.Handle(mux, pathHandover, s.handOver, tell)
	control.Handle(mux, pathMigrateStart, s.startMigration, tell)
	s.migration.handle(mux, tell)
	return mux
}

// tellFor says how the failures of a volume are told through a socket.
func tellFor(volume string) func(error) *control.Failure {
	return func(err error) *control.Failure {
		err = volumeError(volume, err)
		f := classify(err)
		return &control.Failure{Code: f.code, Message: oneLine(err.Error()), Hint: f.hint}
	}
}

// ask has whoever has the volume mounted do something, or opens it to do it here.
func ask[In, Out any](c *cobra.Command, f *enclaveFlags, volume, path string, in In, readOnly bool,
	do func(volumeService, context.Context, In) (Out, error)) (out Out, err error) {
	if !f.takeover {
		client, err := control.Dial(c.Context(), volume)
		if err == nil {
			defer client.Close()
			err = client.Call(c.Context(), path, in, &out)
			return out, fromControl(volume, err)
		}
	}
	err = f.withOptions(c, volume, readOnly, func(ctx context.Context, v *coffer.Volume, _ coffer.Options) (err error) {
		out, err = do(volumeService{v: v}, ctx, in)
		return volumeError(volume, err)
	})
	return out, err
}

// fromControl is the failure of the one who was asked, as if it had happened here.
func fromControl(volume string, err error) error {
	if f := (*control.Failure)(nil); errors.As(err, &f) {
		return &failure{f.Code, errors.New(f.Message), strings.ReplaceAll(f.Hint, "VOLUME", quote(volume))}
	}
	return err
}
