package strictjson

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
)

// walker looks at the structure of a text before anything is decoded. It takes
// things apart as JSON does and refuses no more than it must: a text that is not
// JSON at all is for the decoder to refuse, after it.
type walker struct {
	rest  []byte
	names map[string]bool // of all fields, at any level
}

// peek is the next byte that is not white space, 0 at the end.
func (w *walker) peek() byte {
	w.rest = bytes.TrimLeft(w.rest, " \t\r\n")
	if len(w.rest) == 0 {
		return 0
	}
	return w.rest[0]
}

// skip reports whether c is next, and passes it.
func (w *walker) skip(c byte) bool {
	if w.peek() != c || len(w.rest) == 0 {
		return false
	}
	w.rest = w.rest[1:]
	return true
}

func (w *walker) value(depth int) error {
	if depth > MaxDepth {
		return fmt.Errorf("%w: nested deeper than %d", ErrMalformed, MaxDepth)
	}
	switch w.peek() {
	case '{':
		return w.object(depth)
	case '[':
		return w.array(depth)
	case '"':
		_, err := w.text()
		return err
	}
	return w.word()
}

func (w *walker) array(depth int) error {
	w.skip('[')
	if w.skip(']') {
		return nil
	}
	for {
		if err := w.value(depth + 1); err != nil {
			return err
		}
		if !w.skip(',') {
			return w.end(']')
		}
	}
}

func (w *walker) object(depth int) error {
	w.skip('{')
	if w.skip('}') {
		return nil
	}
	for seen := map[string]bool{}; ; {
		name, err := w.name()
		switch {
		case err != nil:
			return err
		case !w.names[name]:
			return fmt.Errorf("%w: unknown field %q", ErrMalformed, name[:min(len(name), 40)])
		case seen[name]:
			return fmt.Errorf("%w: field %q given twice", ErrMalformed, name)
		}
		seen[name] = true
		if err := w.end(':'); err != nil {
			return err
		}
		if err := w.value(depth + 1); err != nil {
			return err
		}
		if !w.skip(',') {
			return w.end('}')
		}
	}
}

// name is a field's, as the decoder will read it.
func (w *walker) name() (string, error) {
	text, err := w.text()
	if err != nil || bytes.IndexByte(text, '\\') < 0 {
		return string(text[min(1, len(text)):max(len(text)-1, 0)]), err
	}
	var name string
	if err := json.Unmarshal(text, &name); err != nil {
		return "", fmt.Errorf("%w: %w", ErrMalformed, bounded(err))
	}
	return name, nil
}

// text passes a string, and returns it with its quotes.
func (w *walker) text() ([]byte, error) {
	if w.peek() != '"' {
		return nil, w.unexpected()
	}
	for i := 1; ; {
		n := bytes.IndexByte(w.rest[i:], '"')
		if n < 0 {
			return nil, fmt.Errorf("%w: %w", ErrMalformed, io.ErrUnexpectedEOF)
		}
		i += n + 1
		if !escaped(w.rest[:i-1]) {
			text := w.rest[:i]
			w.rest = w.rest[i:]
			return text, nil
		}
	}
}

// escaped reports whether what follows b in a string is: an odd number of
// backslashes is before it.
func escaped(b []byte) bool {
	return (len(b)-len(bytes.TrimRight(b, `\`)))%2 == 1
}

// word passes a number, true or false.
func (w *walker) word() error {
	n := bytes.IndexAny(w.rest, " \t\r\n,:[]{}\"")
	if n < 0 {
		n = len(w.rest)
	}
	word := w.rest[:n]
	w.rest = w.rest[n:]
	switch {
	case string(word) == "null":
		return fmt.Errorf("%w: null", ErrMalformed)
	case n == 0:
		return w.unexpected()
	}
	return nil
}

// end passes c, which has to be next.
func (w *walker) end(c byte) error {
	if w.skip(c) {
		return nil
	}
	return w.unexpected()
}

func (w *walker) unexpected() error {
	if w.peek() == 0 && len(w.rest) == 0 {
		return fmt.Errorf("%w: %w", ErrMalformed, io.ErrUnexpectedEOF)
	}
	return fmt.Errorf("%w: unexpected %q", ErrMalformed, w.rest[0])
}
