package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
)

// seenEnv names the directory in which the scripts' commands note which classes
// their errors were of.
const seenEnv = "COFFER_TEST_SEEN"

// recorded is main, and notes the class of its error.
func recorded() {
	err := run()
	note(os.Getenv(seenEnv), err)
	os.Exit(report(os.Stderr, err))
}

// note takes down the first class that an error is of.
func note(dir string, err error) {
	for i, c := range classes {
		if err != nil && errors.Is(err, c.is) {
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), nil, 0o600); err != nil {
				panic(err)
			}
			return
		}
	}
}

// scripts counts those that ran.
type scripts struct{ ran atomic.Int32 }

// checkSeen finds the classes that no script provokes and no test of elsewhere,
// if all scripts ran.
func (s *scripts) checkSeen(t *testing.T, dir string) {
	all, err := filepath.Glob("testdata/script/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	if int(s.ran.Load()) < len(all) {
		return
	}
	for i, c := range classes {
		_, err := os.Stat(filepath.Join(dir, fmt.Sprint(i)))
		_, elsewhere := provoke[c.is]
		switch {
		case err != nil && !elsewhere:
			t.Errorf("no script provokes %q", c.is)
		case err == nil && elsewhere:
			t.Errorf("a script provokes %q: it needs no test of its own", c.is)
		}
	}
}

// What no script can provoke has the exit code of its class, and is reported in
// one line and a hint.
func TestClasses(t *testing.T) {
	for is, do := range provoke {
		t.Run(is.Error(), func(t *testing.T) {
			err := do(t)
			if !errors.Is(err, is) {
				t.Fatalf("%v, want %v", err, is)
			}
			for _, c := range classes {
				if c.is == is && classify(err).code != c.code {
					t.Errorf("%v has exit code %d, want %d", err, classify(err).code, c.code)
				}
			}
			var out strings.Builder
			report(&out, volumeError("vol", err))
			lines := strings.Split(strings.TrimSpace(out.String()), "\n")
			if len(lines) > 2 || !strings.HasPrefix(lines[0], `coffer: error: `) {
				t.Errorf("%q", lines)
			}
			if len(lines) == 2 && !strings.HasPrefix(lines[1], "coffer: hint: ") {
				t.Errorf("%q", lines)
			}
		})
	}
}

// The table of exit codes is whole, every class has one of them, and the manual
// has the same.
func TestExitCodes(t *testing.T) {
	manual, err := os.ReadFile(filepath.Join("..", "..", "docs", "operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	for code, text := range exitCodes {
		if row := fmt.Sprintf("| %d | %s |", code, text); !strings.Contains(string(manual), row) {
			t.Errorf("docs/operations.md lacks %q", row)
		}
	}
	_, table, _ := strings.Cut(string(manual), "## Exit codes")
	if n := len(regexp.MustCompile(`(?m)^\| [0-9]+ \|`).FindAllString(table, -1)); n != len(exitCodes) {
		t.Errorf("docs/operations.md has %d codes, the tool %d", n, len(exitCodes))
	}
	for _, c := range classes {
		if _, ok := exitCodes[c.code]; !ok || c.code == exitOK {
			t.Errorf("%v has code %d", c.is, c.code)
		}
	}
}

func TestReport(t *testing.T) {
	for _, test := range []struct {
		err  error
		code int
		text string
	}{
		{nil, exitOK, ""},
		{&errSaid{7}, 7, ""},
		{errors.New("two\nlines"), exitFailure, "coffer: error: two lines\n"},
		{&failure{exitConfig, errors.New("odd"), "VOLUME"}, exitConfig, "coffer: error: odd\ncoffer: hint: VOLUME\n"},
		{volumeError("my vol", &failure{exitConfig, errors.New("odd"), "see VOLUME"}), exitConfig, "coffer: error: volume \"my vol\": odd\ncoffer: hint: see 'my vol'\n"},
		{volumeError("v", volumeError("v", errors.New("open volume: acquire volume: odd"))), exitFailure, "coffer: error: volume \"v\": odd\n"},
	} {
		var out strings.Builder
		if code := report(&out, test.err); code != test.code || out.String() != test.text {
			t.Errorf("%v: code %d and %q, want %d and %q", test.err, code, &out, test.code, test.text)
		}
	}
}

func TestQuote(t *testing.T) {
	for in, want := range map[string]string{
		"": "''", "a-b_c./:=": "a-b_c./:=", "my vol": "'my vol'", "it's": `'it'\''s'`, "$x": "'$x'",
	} {
		if got := quote(in); got != want {
			t.Errorf("%q is %s, want %s", in, got, want)
		}
	}
}
