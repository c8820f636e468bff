package serve

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/remote/wire"
)

const (
	// maxUses is how many points are open for clients at once; more wait.
	maxUses = 32
	// useIdle is how long a point counts as open of which nothing is asked.
	useIdle = 2 * time.Minute
	// maxKeep is for how long whoever may only pull can have a point kept.
	maxKeep = 31 * 24 * time.Hour
	// transferPrefix begins the names of points that whoever may only pull may drop.
	transferPrefix = "transfer-"
)

// use is a point that a client has open.
type use struct {
	volume string
	point  host.Point
	users  int  // calls under way; guarded by Server.useMu
	ended  bool // to be closed after the last of them; guarded by Server.useMu
	idle   *time.Timer
}

var errUse = invalid("%s is not the name of an opened point", wire.HeaderUse)

// useName is that of the opened point that a request is about.
func (c *call) useName() (string, error) {
	name := c.r.Header.Get(wire.HeaderUse)
	if b, err := hex.DecodeString(name); err != nil || len(b) != wire.UseSize {
		return "", errUse
	}
	return name, nil
}

// withKeeper runs do with the volume's points.
func (c *call) withKeeper(do func(host.PointKeeper) error) error {
	v, err := c.backend.Open(c.volume())
	if err != nil {
		return err
	}
	defer v.Close()
	k, ok := v.(host.PointKeeper)
	if !ok {
		return invalid("this volume keeps no points")
	}
	return do(k)
}

func (c *call) listPoints() error {
	return c.withKeeper(func(k host.PointKeeper) error {
		infos, err := k.Points(c.r.Context())
		if err != nil {
			return err
		}
		b, err := wire.AppendPoints(infos)
		if err != nil {
			return err
		}
		return c.answer("application/json", b)
	})
}

// takePoint takes a point and opens it. The same request may come again.
func (c *call) takePoint() error {
	b, err := c.body(wire.MaxPointRequest)
	if err != nil {
		return err
	}
	var q wire.PointRequest
	if err := json.Unmarshal(b, &q); err != nil {
		return invalid("%v", err)
	}
	o := host.PointOptions{Name: q.Name, Keep: time.Duration(q.KeepNanos)}
	if c.pullOnly() && (o.Keep <= 0 || o.Keep > maxKeep) {
		return invalid("a point to be kept for %v: whoever may only pull can have it for up to %v", o.Keep, maxKeep)
	}
	name, err := c.useName()
	if err != nil {
		return err
	}
	u, err := c.open(name, func(k host.PointKeeper) (host.Point, error) { return k.TakePoint(c.r.Context(), o) })
	if err != nil {
		return err
	}
	defer c.leaveUse(name, u)
	c.options.Logger.Info("point taken", "volume", c.volume(), "point", u.point.Contents().Info.Name)
	return c.answer(wire.ContentType, wire.AppendContents(u.point.Contents()))
}

func (c *call) getPoint() error {
	name, u, err := c.point()
	if err != nil {
		return err
	}
	defer c.leaveUse(name, u)
	return c.answer(wire.ContentType, wire.AppendContents(u.point.Contents()))
}

// point returns the point of a request, opened: leaveUse must be called.
func (c *call) point() (name string, u *use, err error) {
	if name, err = c.useName(); err != nil {
		return name, nil, err
	}
	u, err = c.open(name, func(k host.PointKeeper) (host.Point, error) {
		return k.OpenPoint(context.WithoutCancel(c.r.Context()), c.r.PathValue("point"))
	})
	if err != nil {
		return name, nil, err
	}
	if i := u.point.Contents().Info; i.ID.String() != c.r.PathValue("point") && i.Name != c.r.PathValue("point") {
		c.leaveUse(name, u)
		return name, nil, invalid("%s names another point", wire.HeaderUse)
	}
	return name, u, nil
}

// open finds what a client has open, or opens it.
func (c *call) open(name string, how func(host.PointKeeper) (host.Point, error)) (*use, error) {
	if u, err := c.enterUse(name, nil); u != nil || err != nil {
		return u, err
	}
	defer c.opened()
	var p host.Point
	err := c.withKeeper(func(k host.PointKeeper) (err error) {
		p, err = how(k)
		return err
	})
	if err != nil {
		return nil, err
	}
	u, err := c.enterUse(name, p)
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return u, nil
}

// opened gives back the place that enterUse kept for a point.
func (s *Server) opened() {
	s.useMu.Lock()
	defer s.useMu.Unlock()
	s.opening--
}

// enterUse finds an opened point, or makes one of p if that is not nil. If it gives
// neither a point nor an error, there is a place for one, until opened is called.
func (c *call) enterUse(name string, p host.Point) (*use, error) {
	c.useMu.Lock()
	defer c.useMu.Unlock()
	u := c.uses[name]
	switch {
	case u != nil && u.volume != c.volume():
		return nil, invalid("%s names another volume's point", wire.HeaderUse)
	case u == nil && p == nil:
		if len(c.uses)+c.opening >= maxUses {
			return nil, errBusy
		}
		c.opening++
		return nil, nil
	case u == nil:
		u = &use{volume: c.volume(), point: p}
		u.idle = time.AfterFunc(useIdle, func() { c.endUse(name, u) })
		c.uses[name] = u
	case p != nil: // the same request came twice at once
		_ = p.Close()
	}
	u.users++
	u.idle.Stop()
	return u, nil
}

// leaveUse ends a call.
func (s *Server) leaveUse(name string, u *use) {
	s.useMu.Lock()
	defer s.useMu.Unlock()
	u.users--
	if u.users == 0 && u.ended {
		_ = u.point.Close()
	} else if u.users == 0 {
		u.idle.Reset(useIdle)
	}
}

// endUse closes an opened point, after the calls under way.
func (s *Server) endUse(name string, u *use) {
	s.useMu.Lock()
	defer s.useMu.Unlock()
	if s.uses[name] != u {
		return
	}
	delete(s.uses, name)
	u.idle.Stop()
	if u.ended = true; u.users == 0 {
		_ = u.point.Close()
	}
}

// endUses closes all, when the server ends.
func (s *Server) endUses() {
	s.useMu.Lock()
	all := make(map[string]*use, len(s.uses))
	for name, u := range s.uses {
		all[name] = u
	}
	s.useMu.Unlock()
	for name, u := range all {
		s.endUse(name, u)
	}
}

func (c *call) closePoint() error {
	name, err := c.useName()
	if err != nil {
		return err
	}
	c.useMu.Lock()
	u := c.uses[name]
	c.useMu.Unlock()
	if u != nil && u.volume == c.volume() {
		c.endUse(name, u)
	}
	return c.ok()
}

func (c *call) dropPoint() error {
	return c.withKeeper(func(k host.PointKeeper) error {
		name := c.r.PathValue("point")
		if c.pullOnly() && !strings.HasPrefix(name, transferPrefix) {
			return invalid("whoever may only pull drops no point that has a name of its own")
		}
		if err := k.DropPoint(c.r.Context(), name); err != nil {
			return err
		}
		c.options.Logger.Info("point dropped", "volume", c.volume(), "point", name)
		return c.ok()
	})
}

func (c *call) getReceived() error {
	return c.withKeeper(func(k host.PointKeeper) error {
		r, ok, err := k.Received(context.WithoutCancel(c.r.Context()))
		if err == nil && !ok {
			err = fmt.Errorf("it did not come by a transfer: %w", host.ErrNotFound)
		}
		if err != nil {
			return err
		}
		b, err := wire.AppendReceived(r)
		if err != nil {
			return err
		}
		return c.answer("application/json", b)
	})
}

func (c *call) readPoint() error {
	id, err := c.segmentID()
	if err != nil {
		return err
	}
	off, size, err := parseRange(c.r.Header.Get("Range"))
	if err != nil {
		return err
	}
	name, u, err := c.point()
	if err != nil {
		return err
	}
	defer c.leaveUse(name, u)
	end, ok := u.point.Contents().SegmentSize(id)
	switch {
	case !ok:
		return fmt.Errorf("segment %d is not in the point: %w", id, host.ErrNotFound)
	case off >= end:
		return errEnd
	}
	size = min(size, end-off)
	c.limit(size)
	if f, ok := u.point.(filer); ok {
		return c.sendFile(f, id, off, size)
	}
	b := make([]byte, size)
	if _, err := u.point.Read(c.r.Context(), id, off, b); err != nil {
		return err
	}
	c.partial(size)
	_, _ = c.w.Write(b)
	return nil
}

// digestPoint hashes a segment of a point.
func (c *call) digestPoint() error {
	id, err := c.segmentID()
	if err != nil {
		return err
	}
	name, u, err := c.point()
	if err != nil {
		return err
	}
	defer c.leaveUse(name, u)
	size, ok := u.point.Contents().SegmentSize(id)
	if !ok {
		return fmt.Errorf("segment %d is not in the point: %w", id, host.ErrNotFound)
	}
	c.limit(size)
	h := sha256.New()
	if _, err := io.CopyBuffer(struct{ io.Writer }{h}, io.NewSectionReader(&pointReader{c.r.Context(), u.point, id}, 0, size), make([]byte, 1<<20)); err != nil {
		return err
	}
	return c.answer(wire.ContentType, h.Sum(nil))
}

// pointReader reads a segment of a point.
type pointReader struct {
	ctx   context.Context
	point host.Point
	id    host.SegmentID
}

func (r *pointReader) ReadAt(p []byte, off int64) (int, error) {
	return r.point.Read(r.ctx, r.id, off, p)
}
