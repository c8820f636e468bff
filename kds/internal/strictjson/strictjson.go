// Package strictjson decodes JSON from strangers.
//
// It promises that one text has one meaning: unknown fields, fields in another
// case, fields given twice, invalid UTF-8, nulls and anything after the value are
// refused, and so is nesting beyond MaxDepth. The caller bounds the size.
//
// Imported by kds and its subpackages. Imports nothing of ours.
package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"unicode/utf8"
)

// MaxDepth is how deep objects and arrays may nest.
const MaxDepth = 8

// ErrMalformed: the text is not the JSON that was asked for.
var ErrMalformed = errors.New("malformed JSON")

// Unmarshal decodes b into v, a pointer to a struct.
func Unmarshal(b []byte, v any) error {
	if !utf8.Valid(b) {
		return fmt.Errorf("%w: invalid UTF-8", ErrMalformed)
	}
	w := walker{d: json.NewDecoder(bytes.NewReader(b)), names: fieldNames(reflect.TypeOf(v), map[string]bool{})}
	if err := w.value(0); err != nil {
		return err
	}
	if _, err := w.d.Token(); err != io.EOF {
		return fmt.Errorf("%w: something follows the value", ErrMalformed)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, bounded(err))
	}
	return nil
}

// walker reads the tokens of a text before anything is decoded.
type walker struct {
	d     *json.Decoder
	names map[string]bool // of all fields, at any level
}

func (w *walker) value(depth int) error {
	if depth > MaxDepth {
		return fmt.Errorf("%w: nested deeper than %d", ErrMalformed, MaxDepth)
	}
	t, err := w.d.Token()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, bounded(err))
	}
	switch t {
	case nil:
		return fmt.Errorf("%w: null", ErrMalformed)
	case json.Delim('{'):
		return w.object(depth)
	case json.Delim('['):
		for w.d.More() {
			if err := w.value(depth + 1); err != nil {
				return err
			}
		}
		return w.end()
	}
	return nil
}

func (w *walker) object(depth int) error {
	seen := map[string]bool{}
	for w.d.More() {
		t, err := w.d.Token()
		if err != nil {
			return fmt.Errorf("%w: %w", ErrMalformed, bounded(err))
		}
		name, _ := t.(string)
		switch {
		case !w.names[name]:
			return fmt.Errorf("%w: unknown field %q", ErrMalformed, name[:min(len(name), 40)])
		case seen[name]:
			return fmt.Errorf("%w: field %q given twice", ErrMalformed, name)
		}
		seen[name] = true
		if err := w.value(depth + 1); err != nil {
			return err
		}
	}
	return w.end()
}

func (w *walker) end() error {
	if _, err := w.d.Token(); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, bounded(err))
	}
	return nil
}

// fieldNames are the names in the json tags of t and of the structs in it.
func fieldNames(t reflect.Type, to map[string]bool) map[string]bool {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return to
	}
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name != "" {
			to[name] = true
		}
		if name != "" || f.Anonymous {
			fieldNames(f.Type, to)
		}
	}
	return to
}

// bounded is err itself if a person would read all of it, and otherwise its
// beginning.
func bounded(err error) error {
	const most = 300
	if s := err.Error(); len(s) > most {
		return errors.New(strings.ToValidUTF8(s[:most], "") + "...")
	}
	return err
}
