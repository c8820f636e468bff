package layout_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// docs/threat-model.md names tests that exist, and every attack that is tested.
func TestThreatModel(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(root(t), "docs", "threat-model.md"))
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]bool{}
	for _, m := range regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z0-9_]+)`").FindAllStringSubmatch(string(b), -1) {
		named[m[1]] = true
	}
	c := exec.Command("git", "grep", "-hE", `^func (Test|Fuzz)[A-Za-z0-9_]+\(`, "--", "*_test.go")
	c.Dir = root(t)
	out, err := c.Output()
	if err != nil {
		t.Fatal(err)
	}
	exists := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		name, _, _ := strings.Cut(strings.TrimPrefix(line, "func "), "(")
		exists[name] = true
	}
	for name := range named {
		if !exists[name] {
			t.Errorf("the page names %s, which is not there", name)
		}
	}
	attack := regexp.MustCompile(`^Test[AK][0-9]{2}_`)
	for name := range exists {
		if attack.MatchString(name) && !named[name] {
			t.Errorf("the page does not name %s", name)
		}
	}
}
