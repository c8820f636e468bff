package config_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/coffer-fs/coffer/config"
)

func TestUpgrade(t *testing.T) {
	block := "upgrade {\nticketKey = \"" + strings.Repeat("0a", 32) + "\"\n}\n"
	for _, text := range []string{whole + block, whole + "conclave {\n" + block + "}\n"} {
		c, warnings := parse(t, text)
		if c.Upgrade == nil || string(c.Upgrade.TicketKey) != strings.Repeat("\n", 32) || len(warnings) > 0 {
			t.Errorf("%+v, %v", c.Upgrade, warnings)
		}
	}
	if c, _ := parse(t, whole); c.Upgrade != nil {
		t.Error("a ticket key came from nowhere")
	}
	for text, want := range map[string]string{
		"upgrade {\n}\n":                       "upgrade: ticketKey is required",
		"upgrade {\nticketKey = \"0a\"\n}\n":   "64 hexadecimal digits",
		"upgrade {\nticketKey = \"none\"\n}\n": "64 hexadecimal digits",
		"upgrade {\nticketkey = \"0a\"\n}\n":   "did you mean ticketKey",
		block + block:                          "upgrade is given twice",
	} {
		if _, _, err := config.Parse("test.hcl", []byte(whole+text)); !errors.Is(err, config.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}
