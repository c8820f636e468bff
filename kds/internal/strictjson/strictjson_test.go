package strictjson_test

import (
	"errors"
	"strings"
	"testing"

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
		{`{"name":"a"}x`, "malformed"},
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

func FuzzUnmarshal(f *testing.F) {
	f.Add([]byte(`{"name":"a","data":"AQI=","inner":{"n":7},"more":[{"n":1}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := strictjson.Unmarshal(b, &outer{}); err != nil && !errors.Is(err, strictjson.ErrMalformed) {
			t.Error(err)
		}
	})
}
