package main

import (
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/coffer-fs/coffer/kds/cluster"
	"github.com/coffer-fs/coffer/kds/orders"
)

// K39: whoever answers in a node's place says that the record of a generation
// that is needed is that of an old one: the operator does not sign its end.
func TestK39_RetireTheOther(t *testing.T) {
	dir := t.TempDir()
	opKey, config := filepath.Join(dir, "op.key"), filepath.Join(dir, "node.hcl")
	op, err := orders.OperatorKey(opKey)
	must(t, err)
	text := fmt.Sprintf("operators = [\"%x\"]\ncluster {\n name = \"test\"\n}\n", op.Public().(ed25519.PublicKey))
	must(t, os.WriteFile(config, []byte(text), 0o600))
	first, second := strings.Repeat("01", 32), strings.Repeat("02", 32)
	var signed atomic.Int32
	liar := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == cluster.RetirePath {
			signed.Add(1)
			fmt.Fprint(w, "{}")
			return
		}
		must(t, json.NewEncoder(w).Encode(cluster.Status{Cluster: "test", State: cluster.Member, Current: 3,
			Generations: []cluster.GenerationStatus{{Generation: 1, Hash: second}, {Generation: 2, Hash: first}}}))
	}))
	defer liar.Close()
	run := func(more ...string) int {
		root := newRoot()
		root.SetOut(io.Discard)
		root.SetArgs(append([]string{"retire", "--generation", "1", "--url", liar.URL, "--config", config, "--trust", trustText, "--operator-key", opKey}, more...))
		return report(io.Discard, root.Execute())
	}
	if code := run("--record", first); code != exitCluster {
		t.Errorf("exit code %d", code)
	}
	if n := signed.Load(); n != 0 {
		t.Errorf("%d retirements were signed", n)
	}
	for _, bad := range []string{"", "01", "no"} {
		if code := run("--record", bad); code != exitUsage {
			t.Errorf("--record %q: exit code %d", bad, code)
		}
	}
}
