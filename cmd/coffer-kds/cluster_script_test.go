package main

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// nodeconfig FILE OPERATOR THRESHOLD NAME...: the configuration of a node, with
// the public keys in OPERATOR and NAME.pub.
func nodeconfigFile(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: nodeconfig FILE OPERATOR THRESHOLD NAME...")
	}
	threshold, err := strconv.Atoi(args[2])
	ts.Check(err)
	custodians := map[string]string{}
	for _, n := range args[3:] {
		custodians[n] = strings.TrimSpace(ts.ReadFile(n + ".pub"))
	}
	text := nodeHCL(strings.TrimSpace(ts.ReadFile(args[1])), threshold, args[3:], custodians)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o600))
}

// nodeHCL is the configuration of a node of the cluster "test".
func nodeHCL(operator string, threshold int, names []string, public map[string]string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "operators = [%q]\ncluster {\n  name      = \"test\"\n  threshold = %d\n", operator, threshold)
	for _, n := range names {
		fmt.Fprintf(&b, "  custodian %q { key = %q }\n", n, public[n])
	}
	return b.String() + "}\n"
}

// becomes URL TEXT: the status of a node will have the text in it.
func becomes(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: becomes URL TEXT")
	}
	path, err := exec.LookPath("coffer-kds")
	ts.Check(err)
	var out []byte
	for range 200 {
		out, err = exec.Command(path, "status", "--url", args[0]).Output()
		if err == nil && strings.Contains(string(out), args[1]) {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	ts.Fatalf("the node has no %q: %s, %v", args[1], out, err)
}
