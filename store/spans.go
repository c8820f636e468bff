package store

import (
	"encoding/binary"
	"fmt"

	"github.com/coffer-fs/coffer/store/tree"
)

// span is a run of an object: what holds its bytes, or that there are none.
type span struct {
	from, to uint64 // offsets in the object
	extent   Extent // zero if it is a hole
}

func (p span) hole() bool { return p.extent.Length == 0 }

// cut is the part [from, to) of p, which it must hold.
func (p span) cut(from, to uint64) span {
	if !p.hole() {
		p.extent = p.extent.Slice(uint32(from-p.from), uint32(to-from))
	}
	p.from, p.to = from, to
	return p
}

// agrees reports whether both say the same where both are.
func (p span) agrees(q span) bool {
	if p.hole() || q.hole() {
		return p.hole() && q.hole()
	}
	return p.extent.sameFrame(q.extent) && uint64(p.extent.Start)+q.from == uint64(q.extent.Start)+p.from
}

// extentSpan is what the item of an extent says.
func extentSpan(k Key, value []byte) (span, error) {
	e, err := ParseExtent(value)
	if err == nil && uint64(e.Count) > k.Sub {
		err = fmt.Errorf("item %v begins before its object: %w", k, ErrDamaged)
	}
	return span{k.Sub - uint64(e.Count), k.Sub, e}, err
}

// holeSpan is what the item of a hole in a layer says.
func holeSpan(k Key, value []byte) (span, error) {
	if len(value) != 8 {
		return span{}, fmt.Errorf("item %v of %d bytes: %w", k, len(value), ErrDamaged)
	}
	n := binary.BigEndian.Uint64(value)
	if n == 0 || n > k.Sub {
		return span{}, fmt.Errorf("item %v of a hole of %d bytes: %w", k, n, ErrDamaged)
	}
	return span{from: k.Sub - n, to: k.Sub}, nil
}

// spanOf is what an item of a layer says, which holds data or a hole.
func spanOf(k Key, value []byte) (span, error) {
	if k.Type&absent != 0 {
		return holeSpan(k, value)
	}
	return extentSpan(k, value)
}

// item is the span as an item of a layer.
func (p span) item(l layer, object uint64) change {
	k := Key{Object: object, Type: TypeExtent, Sub: p.to}
	if p.hole() {
		return change{l.absentKey(k), binary.BigEndian.AppendUint64(nil, p.to-p.from)}
	}
	return change{l.key(k), p.extent.Append(nil)}
}

// differences returns what olds say where news say something else. Both are in
// order.
func differences(olds, news []span) (lost []span) {
	for len(olds) > 0 || len(news) > 0 {
		at, end := sweepStart(olds, news), ^uint64(0)
		old, isOld := sweepHead(olds, at, &end)
		now, isNew := sweepHead(news, at, &end)
		switch {
		case isOld && isNew && old.agrees(now):
		case isOld:
			lost = appendSpan(lost, old.cut(at, end))
		default:
			lost = appendSpan(lost, span{from: at, to: end})
		}
		olds, news = sweepPast(olds, at, end), sweepPast(news, at, end)
	}
	return lost
}

// sweepStart is where the first of them begins.
func sweepStart(a, b []span) uint64 {
	at := ^uint64(0)
	for _, spans := range [][]span{a, b} {
		if len(spans) > 0 {
			at = min(at, spans[0].from)
		}
	}
	return at
}

// sweepHead returns the first of spans if it begins at at, and lowers end to where
// it ends, or begins.
func sweepHead(spans []span, at uint64, end *uint64) (span, bool) {
	if len(spans) == 0 {
		return span{}, false
	}
	if spans[0].from > at {
		*end = min(*end, spans[0].from)
		return span{}, false
	}
	*end = min(*end, spans[0].to)
	return spans[0], true
}

// sweepPast drops what lies before end from the first of spans, if it begins at at.
func sweepPast(spans []span, at, end uint64) []span {
	switch {
	case len(spans) == 0 || spans[0].from > at:
		return spans
	case spans[0].to <= end:
		return spans[1:]
	}
	spans[0] = spans[0].cut(end, spans[0].to)
	return spans
}

// appendSpan appends p, joined with the last one if it goes on there.
func appendSpan(spans []span, p span) []span {
	if n := len(spans) - 1; n >= 0 && spans[n].to == p.from && spans[n].agrees(p) {
		spans[n].to = p.to
		if !p.hole() {
			spans[n].extent.Count += p.extent.Count
		}
		return spans
	}
	return append(spans, p)
}

// without returns what of p lies in none of taken, which are in order.
func (p span) without(taken []span) (rest []span) {
	for _, t := range taken {
		switch {
		case t.to <= p.from:
		case t.from >= p.to:
			return append(rest, p)
		default:
			if t.from > p.from {
				rest = append(rest, p.cut(p.from, t.from))
			}
			if t.to >= p.to {
				return rest
			}
			p = p.cut(t.to, p.to)
		}
	}
	return append(rest, p)
}

// kept returns what a layer holds of [from, to) of an object: data and holes, each
// in order.
func (l layer) kept(v *tree.View, object, from, to uint64) (data, holes []span, err error) {
	k := Key{Object: object, Type: TypeExtent, Sub: from + 1}
	if data, err = scanSpans(v, l.key(k), to); err == nil {
		holes, err = scanSpans(v, l.absentKey(k), to)
	}
	return data, holes, err
}

// scanSpans returns what the items of k's object and type, from k on, say of what is
// before to.
func scanSpans(v *tree.View, k Key, to uint64) (spans []span, err error) {
	end := Key{Object: k.Object, Type: k.Type + 1}
	scanErr := v.Scan(k, end, func(k Key, value []byte) bool {
		var p span
		if p, err = spanOf(k, value); err != nil || p.from >= to {
			return false
		}
		spans = append(spans, p)
		return true
	})
	if scanErr != nil {
		err = scanErr
	}
	return spans, err
}
