package faulthost

import (
	"bytes"
	"context"
	"math"

	"github.com/coffer-fs/coffer/store/host"
)

// reader is the reading side of a Host or of one of its writers.
type reader struct {
	h     *Host
	inner host.Reader
}

// call makes a call as the rule wants it. do makes it at the inner host, half
// makes half of it. After a lie err is that of the call.
func call(ctx context.Context, r Rule, do, half func() error) error {
	switch r.Fault {
	case FailBefore:
		return r.Err
	case FailAfter:
		_ = do()
		return r.Err
	case FailHalfway:
		_ = half()
		return r.Err
	case Hang:
		<-ctx.Done()
		return ctx.Err()
	case Pretend:
		return nil
	}
	return do()
}

// nothing is half of a call that has no halves.
func nothing() error { return nil }

// Get implements host.Reader.
func (r reader) Get(ctx context.Context, name string) (found host.Record, err error) {
	rule := r.h.next(Get)
	err = call(ctx, rule, func() (err error) {
		found, err = r.inner.Get(ctx, name)
		return err
	}, nothing)
	if err != nil {
		return host.Record{}, err
	}
	return r.h.lieAboutRecord(rule.Fault, name, found), nil
}

func (h *Host) lieAboutRecord(f Fault, name string, r host.Record) host.Record {
	first := h.remember(name, r)
	switch f {
	case HugeRecord:
		r.Value = append(bytes.Clone(r.Value), make([]byte, HugeRecordBytes-len(r.Value))...)
	case CutRecord:
		r.Value = r.Value[:len(r.Value)/2]
	case FlipRecord:
		flip(r.Value)
	case OldRecord:
		r = first
	case NoVersion:
		r.Version = ""
	}
	return r
}

// remember returns the first state of a record that was seen.
func (h *Host) remember(name string, r host.Record) host.Record {
	h.mu.Lock()
	defer h.mu.Unlock()
	first, ok := h.first[name]
	if !ok {
		first = host.Record{Value: bytes.Clone(r.Value), Version: r.Version}
		h.first[name] = first
	}
	return host.Record{Value: bytes.Clone(first.Value), Version: first.Version}
}

// Read implements host.Reader.
func (r reader) Read(ctx context.Context, id host.SegmentID, off int64, p []byte) (n int, err error) {
	rule := r.h.next(Read)
	err = call(ctx, rule, func() (err error) {
		n, err = r.inner.Read(ctx, id, off, p)
		return err
	}, nothing)
	if rule.Fault <= Hang {
		return 0, err
	}
	if err != nil {
		return n, err
	}
	return r.h.lieAboutRead(rule.Fault, p, n), nil
}

func (h *Host) lieAboutRead(f Fault, p []byte, n int) int {
	switch f {
	case ShortRead:
		return n / 2
	case EmptyRead:
		return 0
	case LongRead:
		return len(p) + 1
	case NegativeRead:
		return -1
	case FlipRead:
		flip(p)
	case ScribbleLater:
		h.mu.Lock()
		defer h.mu.Unlock()
		h.scribble = append(h.scribble, p)
	}
	return n
}

func flip(p []byte) {
	if len(p) > 0 {
		p[len(p)/2] ^= 1
	}
}

// Segments implements host.Reader.
func (r reader) Segments(ctx context.Context) (infos []host.SegmentInfo, err error) {
	rule := r.h.next(Segments)
	err = call(ctx, rule, func() (err error) {
		infos, err = r.inner.Segments(ctx)
		return err
	}, nothing)
	if err != nil {
		return nil, err
	}
	return lieAboutList(rule.Fault, infos), nil
}

func lieAboutList(f Fault, infos []host.SegmentInfo) []host.SegmentInfo {
	switch f {
	case HugeList:
		for id := range host.SegmentID(HugeListCount) {
			infos = append(infos, host.SegmentInfo{ID: id + 1, Size: host.MaxSegmentSize})
		}
	case NegativeSizes:
		for i := range infos {
			infos[i].Size = math.MinInt64
		}
	case HugeSizes:
		for i := range infos {
			infos[i].Size = math.MaxInt64
		}
	case DoubleList:
		infos = append(infos, infos...)
	case StrangeIDs:
		infos = append(infos, host.SegmentInfo{}, host.SegmentInfo{ID: host.MaxSegmentID + 1}, host.SegmentInfo{ID: math.MaxUint64})
	case EmptyList:
		return nil
	}
	return infos
}
