package layout_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The example of the README is the one that go test runs.
func TestReadmeShowsTheExample(t *testing.T) {
	read := func(name string) string {
		b, err := os.ReadFile(filepath.Join(root(t), name))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	_, example, ok := strings.Cut(read("example_test.go"), "func ExampleOpen")
	example, _, closed := strings.Cut(example, "\n}\n")
	if !ok || !closed {
		t.Fatal("example_test.go has no ExampleOpen")
	}
	if n := strings.Count(example, "\n"); n > 40 {
		t.Errorf("the example has %d lines", n)
	}
	if !strings.Contains(read("README.md"), "func ExampleOpen"+example+"\n}\n```") {
		t.Error("README.md shows another example than example_test.go")
	}
}
