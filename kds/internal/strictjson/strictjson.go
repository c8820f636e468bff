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
	"reflect"
	"strings"
	"sync"
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
	w := walker{rest: b, names: namesOf(reflect.TypeOf(v))}
	if err := w.value(0); err != nil {
		return err
	}
	if w.peek(); len(w.rest) > 0 {
		return fmt.Errorf("%w: something follows the value", ErrMalformed)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, bounded(err))
	}
	return nil
}

// known is what namesOf found, by type: there are as many as there are calls of
// Unmarshal in the program.
var known sync.Map

func namesOf(t reflect.Type) map[string]bool {
	names, ok := known.Load(t)
	if !ok {
		names, _ = known.LoadOrStore(t, fieldNames(t, map[string]bool{}))
	}
	return names.(map[string]bool)
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
