package audit

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"io"
	"slices"
)

// State is where a log stands.
type State struct {
	First uint64 // number of the first line that was read
	Lines uint64 // number of the last line
	Chain Chain  // of the last line
	Head  SignedHead
	// Keys are those that signed, in the order of their first batch, at most
	// MaxKeys.
	Keys []ed25519.PublicKey
}

// MaxKeys is how many keys may have signed what is verified at once.
const MaxKeys = 1024

// VerifyOptions say what a log is held against. The zero value reads a log, or a
// later part of one, that anybody may have signed.
type VerifyOptions struct {
	// After is where the part before ends. Default: the part may begin
	// anywhere, and State.First says where.
	After *State
	// Keys are those that may have signed. Default any, which shows that the log is
	// whole and not whose it is.
	Keys []ed25519.PublicKey
	// Kept is a head that was kept elsewhere: the log must agree with it,
	// must have that line, and must not end before it.
	Kept *SignedHead
	// More parts follow this one.
	More bool
}

// Verify reads a log, batch by batch, and tells each entry to visit, which may
// be nil, when its batch is verified. Its memory does not depend on the log's
// size.
func Verify(r io.Reader, o VerifyOptions, visit func(Entry) error) (State, error) {
	v := verifier{o: o, in: bufio.NewReaderSize(r, MaxLineBytes)}
	if o.After != nil {
		v.s, v.begun = *o.After, true
	}
	for {
		batch, err := v.batch()
		switch {
		case err != nil:
			return v.s, err
		case batch == nil:
			return v.s, v.end()
		}
		if visit == nil {
			continue
		}
		for _, e := range batch {
			if err := visit(e); err != nil {
				return v.s, err
			}
		}
	}
}

type verifier struct {
	o     VerifyOptions
	in    *bufio.Reader
	s     State
	begun bool // s is where the log stands
}

// batch reads lines up to a head, and the head; nil at the end of the log.
func (v *verifier) batch() ([]Entry, error) {
	var all []Entry
	var raw []line
	size := 0
	for {
		text, err := v.in.ReadSlice('\n')
		number := v.s.Lines + uint64(len(raw)) + 1
		switch {
		case err == io.EOF && len(text) == 0 && len(raw) == 0:
			return nil, nil
		case err == io.EOF:
			return nil, damaged(number, "it ends within a batch")
		case err == bufio.ErrBufferFull:
			return nil, damaged(number, "longer than %d bytes", MaxLineBytes)
		case err != nil:
			return nil, fmt.Errorf("read audit log: %w", err)
		case bytes.HasPrefix(text, []byte(`{"head":`)):
			return all, v.head(text, raw, all)
		}
		if size += len(text); size > MaxBatchBytes || len(raw) == MaxWaiting {
			return nil, damaged(number, "a batch without an end")
		}
		l, e, err := decode(text, number)
		if err != nil {
			return nil, err
		}
		raw, all = append(raw, l), append(all, e)
		if len(raw) == 1 && !v.begun { // the number is that of the first line
			v.s.Lines = e.Sequence - 1
			number = e.Sequence
		}
		if e.Sequence != number {
			return nil, damaged(number, "it says it is line %d", e.Sequence)
		}
	}
}

// decode reads one line; its chain value is compared when its batch is whole.
func decode(text []byte, number uint64) (line, Entry, error) {
	var l line
	var e Entry
	if json.Unmarshal(text, &l) != nil || json.Unmarshal(l.Entry, &e) != nil || e.Sequence == 0 {
		return l, e, damaged(number, "not an audit line")
	}
	if !bytes.Equal(text, fmt.Appendf(nil, "{\"entry\":%s,\"chain\":\"%s\"}\n", l.Entry, l.Chain)) {
		return l, e, damaged(number, "not written as an audit line is")
	}
	return l, e, nil
}

// head checks that a head is that of the lines before it, and goes on from it.
func (v *verifier) head(text []byte, raw []line, all []Entry) error {
	number := v.s.Lines + 1
	h, err := ParseHead(text)
	switch {
	case err != nil:
		return fmt.Errorf("lines from %d: %w", number, err)
	case len(raw) == 0:
		return damaged(number, "a head without lines")
	case h.Head.First != number || h.Head.Last != v.s.Lines+uint64(len(raw)):
		return damaged(number, "the head after it is of lines %d to %d", h.Head.First, h.Head.Last)
	case !v.begun && number == 1 && h.Head.Before != (Chain{}), v.begun && h.Head.Before != v.s.Chain:
		return damaged(number, "it does not follow the line before it")
	}
	chain := h.Head.Before
	for i, l := range raw {
		chain = chain.next(l.Entry)
		if l.Chain != chain.String() {
			return damaged(number+uint64(i), "its chain value does not match")
		}
		if k := v.o.Kept; k != nil && k.Head.Last == all[i].Sequence && k.Head.Chain != chain {
			return fmt.Errorf("%w: line %d was another one", ErrCutOff, k.Head.Last)
		}
	}
	if chain != h.Head.Chain {
		return damaged(h.Head.Last, "the head after it has another chain value")
	}
	return v.follow(h)
}

func (v *verifier) follow(h SignedHead) error {
	same := func(k ed25519.PublicKey) bool { return k.Equal(h.Key) }
	if len(v.o.Keys) > 0 && !slices.ContainsFunc(v.o.Keys, same) {
		return fmt.Errorf("%w: lines %d to %d are signed by %x", ErrKey, h.Head.First, h.Head.Last, []byte(h.Key))
	}
	if !slices.ContainsFunc(v.s.Keys, same) {
		if len(v.s.Keys) == MaxKeys {
			return damaged(h.Head.First, "more than %d keys have signed", MaxKeys)
		}
		v.s.Keys = append(v.s.Keys, h.Key)
	}
	if !v.begun {
		v.s.First, v.begun = h.Head.First, true
	}
	v.s.Lines, v.s.Chain, v.s.Head = h.Head.Last, h.Head.Chain, h
	return nil
}

func (v *verifier) end() error {
	k := v.o.Kept
	if k == nil {
		return nil
	}
	if v.begun && v.s.First > k.Head.Last {
		return fmt.Errorf("%w: it begins at line %d, after line %d of the head: give the files from that line on", ErrCutOff, v.s.First, k.Head.Last)
	}
	if !v.o.More && v.s.Lines < k.Head.Last {
		return fmt.Errorf("%w: it ends at line %d, and line %d was signed", ErrCutOff, v.s.Lines, k.Head.Last)
	}
	return nil
}

func damaged(number uint64, format string, args ...any) error {
	return fmt.Errorf("%w: line %d: %s", ErrDamaged, number, fmt.Sprintf(format, args...))
}
