package main_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// The commands of the README work as they stand there, one after the other.
func TestReadme(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	script := "trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n"
	for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllSubmatch(readme, -1) {
		script += string(block[1])
	}
	ctx, stop := context.WithTimeout(t.Context(), 5*time.Minute)
	defer stop()
	c := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", script)
	c.WaitDelay = time.Second // what it started may outlive it
	c.Dir, err = filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	var out, log strings.Builder
	c.Env = append(os.Environ(), "TMPDIR="+t.TempDir())
	c.Stdout, c.Stderr = &out, &log
	if err := c.Run(); err != nil {
		t.Fatalf("%v\n%s%s", err, &out, &log)
	}
	want := regexp.MustCompile(`^1 the first line
sealed \d+ bytes anew
1 the first line
2 the second line
the old build is refused
$`)
	if !want.MatchString(out.String()) {
		t.Errorf("printed\n%s%s", &out, &log)
	}
}
