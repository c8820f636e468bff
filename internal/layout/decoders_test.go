package layout_test

import (
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// docs/testing.md lists every decoder of bytes in packages that a volume, an enclave or
// a node is made of, by its name, with the fuzz target that reaches it; and every fuzz
// target.
func TestDecoders(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(root(t), "docs", "testing.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, table, ok := strings.Cut(string(b), "\n## Decoders\n")
	if !ok {
		t.Fatal("docs/testing.md has no list of decoders")
	}
	table, _, _ = strings.Cut(table, "\n## ")
	listed := map[string]bool{} // "package name"
	name := regexp.MustCompile("`([A-Za-z0-9_]+)`")
	for line := range strings.Lines(table) {
		cells := strings.Split(line, "|")
		if len(cells) != 5 || !strings.Contains(cells[1], "`") {
			continue
		}
		in := strings.Trim(cells[1], " `")
		for _, m := range name.FindAllStringSubmatch(cells[2]+cells[3], -1) {
			listed[in+" "+m[1]] = true
		}
		if !strings.Contains(cells[3], "`Fuzz") && !strings.Contains(cells[3], "none: ") {
			t.Errorf("%q: neither a target nor why there is none", line)
		}
	}
	exists := map[string]bool{}
	for _, find := range [][]string{
		{`^func (\([a-z]+ \*?[A-Za-z]+\) )?(Parse|parse|Decode|decode)[A-Za-z0-9]*\((name string, )?[a-z]+ \[\]byte`, "*.go", ":!*_test.go", ":!cmd", ":!internal", ":!testdata"},
		{`^func Fuzz[A-Za-z0-9_]*\(`, "*_test.go"},
	} {
		c := exec.Command("git", append([]string{"grep", "-E", find[0], "--"}, find[1:]...)...)
		c.Dir = root(t)
		out, err := c.Output()
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(out)) {
			file, code, _ := strings.Cut(line, ":")
			code = regexp.MustCompile(`^func (\([^)]*\) )?([A-Za-z0-9_]+)`).FindStringSubmatch(code)[2]
			exists[path.Dir(file)+" "+code] = true
		}
	}
	for k := range exists {
		if !listed[k] {
			t.Errorf("docs/testing.md does not list %s", k)
		}
	}
	for k := range listed {
		if !exists[k] {
			t.Errorf("docs/testing.md lists %s, which is not there", k)
		}
	}
}
