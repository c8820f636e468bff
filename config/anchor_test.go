package config_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/coffer-fs/coffer/config"
)

func TestAnchor(t *testing.T) {
	code := strings.Repeat("0a", 32)
	for text, want := range map[string]config.Anchor{
		`type = "kds"` + "\n" + `policy = "fsync"`:                            {Type: config.AnchorKDS},
		`type = "kds"` + "\n" + `policy = "close"`:                            {Type: config.AnchorKDS, Every: config.AtClose},
		`type = "kds"` + "\n" + `policy = "500ms"`:                            {Type: config.AnchorKDS, Every: 500 * time.Millisecond},
		`type = "file"` + "\n" + `policy = "1s"` + "\n" + `path = "/trusted"`: {Type: config.AnchorFile, Every: time.Second, Path: "/trusted"},
		`type = "none"`: {Type: config.AnchorNone},
		`type = "kds"` + "\n" + `policy = "fsync"` + "\n" + `approve = "` + code + `"`: {Type: config.AnchorKDS, Approve: [32]byte([]byte(strings.Repeat("\n", 32)))},
	} {
		block := "anchor {\n" + text + "\n}\n"
		for _, whole := range []string{whole + block, whole + "conclave {\n" + block + "}\n"} {
			c, warnings := parse(t, whole)
			if c.Anchor == nil || *c.Anchor != want || len(warnings) > 0 {
				t.Errorf("%s: %+v, %v", whole, c.Anchor, warnings)
			}
		}
	}
	if c, _ := parse(t, whole); c.Anchor != nil {
		t.Error("an anchor came from nowhere")
	}
}

func TestAnchorRefuses(t *testing.T) {
	for text, want := range map[string]string{
		`policy = "fsync"`: "anchor: type is required",
		`type = "tpm"`:     "type is kds, file or none",
		`type = "kds"`:     "anchor: policy is required",
		`type = "kds"` + "\n" + `policy = "never"`:                             "policy is fsync, close, or a time",
		`type = "kds"` + "\n" + `policy = "0s"`:                                "policy is fsync, close, or a time",
		`type = "kds"` + "\n" + `policy = "-1s"`:                               "policy is fsync, close, or a time",
		`type = "kds"` + "\n" + `policy = "2h"`:                                "policy is fsync, close, or a time",
		`type = "kds"` + "\n" + `policy = "fsync"` + "\n" + `path = "/a"`:      "path is for type file",
		`type = "file"` + "\n" + `policy = "fsync"`:                            "anchor: path is required",
		`type = "file"` + "\n" + `policy = "fsync"` + "\n" + `path = "a"`:      "path is absolute",
		`type = "kds"` + "\n" + `policy = "fsync"` + "\n" + `approve = "0a"`:   "64 hexadecimal digits",
		`type = "none"` + "\n" + `policy = "fsync"`:                            "policy is for another type than none",
		`type = "kds"` + "\n" + `policy = "fsync"` + "\n" + `polici = "fsync"`: "did you mean policy",
	} {
		_, _, err := config.Parse("test.hcl", []byte(whole+"anchor {\n"+text+"\n}\n"))
		if !errors.Is(err, config.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	_, _, err := config.Parse("test.hcl", []byte("anchor {\ntype = \"kds\"\npolicy = \"fsync\"\n}\n"))
	if !errors.Is(err, config.ErrInvalid) || !strings.Contains(err.Error(), "persistenceKeySpec") {
		t.Error(err)
	}
	_, _, err = config.Parse("test.hcl", []byte(whole+strings.Repeat("anchor {\ntype = \"none\"\n}\n", 2)))
	if !errors.Is(err, config.ErrInvalid) || !strings.Contains(err.Error(), "anchor is given twice") {
		t.Error(err)
	}
}
