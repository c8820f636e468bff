package audit

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
)

// State is where a log stands.
type State struct {
	Lines uint64 // whole lines
	Bytes int64  // of whole lines
	Torn  int64  // bytes after the last whole line
	Chain Chain  // of the last whole line
}

// Verify reads a log from its beginning, and tells each entry to visit, which
// may be nil. Its memory does not depend on the log's size.
func Verify(r io.Reader, visit func(Entry) error) (State, error) {
	var s State
	in := bufio.NewReaderSize(r, MaxLineBytes)
	for {
		text, err := in.ReadSlice('\n')
		switch {
		case err == io.EOF:
			s.Torn = int64(len(text))
			return s, nil
		case err == bufio.ErrBufferFull:
			return s, damaged(s, "longer than %d bytes", MaxLineBytes)
		case err != nil:
			return s, fmt.Errorf("read audit log: %w", err)
		}
		e, next, err := decode(s, text)
		if err != nil {
			return s, err
		}
		s = State{Lines: s.Lines + 1, Bytes: s.Bytes + int64(len(text)), Chain: next}
		if visit != nil {
			if err := visit(e); err != nil {
				return s, err
			}
		}
	}
}

// decode checks that text is the line that follows s.
func decode(s State, text []byte) (Entry, Chain, error) {
	var l line
	var e Entry
	if json.Unmarshal(text, &l) != nil || json.Unmarshal(l.Entry, &e) != nil {
		return Entry{}, Chain{}, damaged(s, "not an audit line")
	}
	next := s.Chain.next(l.Entry)
	if e.Sequence != s.Lines+1 {
		return Entry{}, Chain{}, damaged(s, "it says it is line %d", e.Sequence)
	}
	exact := fmt.Appendf(nil, "{\"entry\":%s,\"chain\":\"%s\"}\n", l.Entry, next)
	if !bytes.Equal(text, exact) {
		return Entry{}, Chain{}, damaged(s, "its chain value does not match")
	}
	return e, next, nil
}

func damaged(s State, format string, args ...any) error {
	return fmt.Errorf("%w: line %d: %s", ErrDamaged, s.Lines+1, fmt.Sprintf(format, args...))
}
