package strictjson_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/coffer-fs/coffer/kds/internal/strictjson"
)

type inner struct {
	N int `json:"n"`
}

type embedded struct {
	Side string `json:"side"`
}

type outer struct {
	embedded
	Name  string  `json:"name"`
	Data  []byte  `json:"data"`
	Inner inner   `json:"inner"`
	More  []inner `json:"more,omitempty"`
}

func TestUnmarshal(t *testing.T) {
	var o outer
	err := strictjson.Unmarshal([]byte(` {"name":"a","data":"AQI=","inner":{"n":7},"more":[{"n":1},{"n":2}],"side":"s"} `), &o)
	if err != nil || o.Side != "s" || o.Name != "a" || len(o.Data) != 2 || o.Inner.N != 7 || len(o.More) != 2 {
		t.Errorf("%+v, %v", o, err)
	}
	for _, c := range []struct{ text, want string }{
		{``, "EOF"},
		{`{`, "malformed"},
		{`{"name":"a"`, "malformed"},
		{`{"name":"a"} {}`, "follows"},
		{`{"name":"a"}x`, "follows"},
		{`{"name":"a",}`, "malformed"},
		{`{"name" "a"}`, "malformed"},
		{`{"name":}`, "malformed"},
		{`{name:"a"}`, "malformed"},
		{`{"name":"a\\\"}`, "malformed"},
		{`{"name":"a"]`, "malformed"},
		{`{"more":[{"n":1} {"n":1}]}`, "malformed"},
		{`{"more":[null]}`, "null"},
		{`{"more":[nul]}`, "malformed"},
		{`null`, "null"},
		{`{"name":null}`, "null"},
		{`{"name":"a","name":"b"}`, "given twice"},
		{`{"inner":{"n":1,"n":1}}`, "given twice"},
		{`{"Name":"a"}`, `unknown field "Name"`},
		{`{"nam\u0065":"a","name":"b"}`, "given twice"},
		{`{"other":1}`, "unknown field"},
		{`{"n":1}`, "unknown field"}, // known elsewhere, unknown here
		{`{"name":1}`, "malformed"},
		{`{"data":"%%"}`, "malformed"},
		{`{"inner":{"n":1e99}}`, "malformed"},
		{`[]`, "malformed"},
		{"{\"name\":\"\xff\"}", "UTF-8"},
		{strings.Repeat("[", 100_000), "nested deeper than 8"},
		{strings.Repeat(`{"inner":`, 100_000), "nested deeper than 8"},
		{`{"` + strings.Repeat("a", 100_000) + `":1}`, "unknown field"},
		{`{"inner":{"n":` + strings.Repeat("1", 100_000) + `}}`, "malformed"},
	} {
		err := strictjson.Unmarshal([]byte(c.text), &outer{})
		if !errors.Is(err, strictjson.ErrMalformed) || !strings.Contains(err.Error(), c.want) || len(err.Error()) > 340 {
			t.Errorf("%.60s: %v, want %q", c.text, err, c.want)
		}
	}
}

// The reference of FuzzUnmarshal: the same rules, seen with the standard library's
// tokens.
type tokens struct{ d *json.Decoder }

func (w tokens) value(depth int) bool {
	t, err := w.d.Token()
	if err != nil || t == nil || depth > strictjson.MaxDepth {
		return false
	}
	if t != json.Delim('{') && t != json.Delim('[') {
		return true
	}
	seen := map[json.Token]bool{}
	for w.d.More() {
		if t == json.Delim('{') {
			name, err := w.d.Token()
			if err != nil || seen[name] || !slices.Contains([]string{"side", "name", "data", "inner", "more", "n"}, name.(string)) {
				return false
			}
			seen[name] = true
		}
		if !w.value(depth + 1) {
			return false
		}
	}
	_, err = w.d.Token()
	return err == nil
}

func accepted(b []byte) bool {
	w := tokens{json.NewDecoder(bytes.NewReader(b))}
	if !utf8.Valid(b) || !w.value(0) {
		return false
	}
	if _, err := w.d.Token(); err != io.EOF {
		return false
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	return d.Decode(&outer{}) == nil
}

func FuzzUnmarshal(f *testing.F) {
	for _, text := range []string{
		`{"name":"a","data":"AQI=","inner":{"n":7},"more":[{"n":1},{"n":2}]}`,
		` { "side" : "\\\"" , "nam\u0065" : "\u00e4\\" , "more" : [ ] , "inner" : { } } `,
		`{"name":"a","name":null}`, `{"inner":{"n":-1e0}}`, `{"name":"\"}`, `{"more":[{"n":1}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		err := strictjson.Unmarshal(b, &outer{})
		if err != nil && !errors.Is(err, strictjson.ErrMalformed) {
			t.Error(err)
		}
		if (err == nil) != accepted(b) {
			t.Errorf("%q: %v", b, err)
		}
	})
}
