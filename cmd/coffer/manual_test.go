package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/coffer-fs/coffer/internal/freeaddr"
)

// The manuals' commands work as they stand there, one after the other.
func TestManual(t *testing.T) {
	if _, err := os.Stat("/dev/fuse"); err != nil {
		t.Skip("this machine has no /dev/fuse")
	}
	for _, page := range []string{"operations.md", "upgrading.md"} {
		t.Run(page, func(t *testing.T) { runManual(t, page) })
	}
}

func runManual(t *testing.T, page string) {
	manual, err := os.ReadFile(filepath.Join("..", "..", "docs", page))
	if err != nil {
		t.Fatal(err)
	}
	var script strings.Builder
	script.WriteString("trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n")
	for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllSubmatch(manual, -1) {
		script.Write(block[1])
	}
	dir := t.TempDir()
	t.Cleanup(func() { unmountBelow(dir) })
	c := exec.Command("bash", "-euxo", "pipefail", "-c", freeAddresses(t, script.String()))
	c.Dir = dir
	c.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0", seenEnv+"="+t.TempDir(),
		"PATH="+filepath.Dir(buildKDS(t))+string(filepath.ListSeparator)+os.Getenv("PATH"))
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// freeAddresses puts addresses that are free in place of those in a script.
func freeAddresses(t *testing.T, script string) string {
	free := map[string]string{}
	return regexp.MustCompile(`127\.0\.0\.1:\d+`).ReplaceAllStringFunc(script, func(fixed string) string {
		if free[fixed] == "" {
			address, err := freeaddr.New()
			if err != nil {
				t.Fatal(err)
			}
			free[fixed] = address
		}
		return free[fixed]
	})
}
