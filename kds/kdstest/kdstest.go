// Package kdstest is a whole KDS inside a test, and its enemies: relays that
// change what passes, nodes that lie, platforms of any mode.
//
// What is weaker than the real thing is named so: Fake platforms vouch for
// themselves. Imported by tests only; release binaries must not link it.
package kdstest

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/anchor"
	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/attest/sim"
	"github.com/coffer-fs/coffer/kds/audit"
	"github.com/coffer-fs/coffer/kds/audit/bolt"
	"github.com/coffer-fs/coffer/kds/master"
	"github.com/coffer-fs/coffer/kds/policy"
	"github.com/coffer-fs/coffer/kds/server"
)

// NodeBuild is the enclave that the node runs in unless Options say otherwise.
var NodeBuild = sim.Build{CodeHash: Hash("D"), SignerHash: Hash("E"), ProductID: 7}

// AppBuild is an enclave that asks for keys.
var AppBuild = sim.Build{CodeHash: Hash("A"), SignerHash: Hash("B"), ProductID: 1}

// Hash is 64 times the hexadecimal digit c.
func Hash(c string) attest.Hash { return attest.Hash(strings.Repeat(c, 64)) }

// Options of a KDS in a test. The zero value is right.
type Options struct {
	Platform attest.Platform // default: NodeBuild on a new simulated CPU
	Dir      string          // of the master key and the audit log; default a new one
	Audit    server.Auditor  // default: a log in Dir
	Masters  []master.Provider
	Now      func() time.Time
	Change   func(*server.Options) // last, of all the rest
}

// KDS is a running KDS.
type KDS struct {
	URL       string
	Node      *server.Server
	Platform  attest.Platform
	Verifier  attest.Verifier
	AuditPath string
	AuditKey  ed25519.PrivateKey
	HTTP      *http.Client
}

// New starts a KDS that ends with the test. It accepts evidence of simulated
// and of Fake enclaves.
func New(t testing.TB, o Options) *KDS {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	if o.Platform == nil {
		o.Platform = Sim(t, NodeBuild)
	}
	k := &KDS{Platform: o.Platform, Verifier: Verifier(), AuditPath: filepath.Join(o.Dir, "audit.db")}
	if o.Audit == nil {
		store, err := bolt.Open(k.AuditPath, bolt.Options{})
		must(t, err)
		t.Cleanup(func() { _ = store.Close() })
		seed := sha256.Sum256([]byte(o.Dir)) // Fake platforms have no seal keys
		k.AuditKey = ed25519.NewKeyFromSeed(seed[:])
		log, err := audit.Open(t.Context(), store, k.AuditKey, o.Now)
		must(t, err)
		t.Cleanup(func() { _ = log.Close() })
		o.Audit = log
	}
	if o.Masters == nil {
		dev, err := master.OpenDevelopment(o.Dir)
		must(t, err)
		o.Masters = []master.Provider{dev}
	}
	anchors, err := anchor.OpenDir(t.TempDir()) // not in Dir, which several nodes may share
	must(t, err)
	t.Cleanup(func() { _ = anchors.Close() })
	so := server.Options{Platform: o.Platform, Verifier: k.Verifier, Masters: o.Masters, Audit: o.Audit, Now: o.Now, Anchors: anchors}
	if o.Change != nil {
		o.Change(&so)
	}
	node, err := server.New(so)
	must(t, err)
	h := httptest.NewServer(node)
	t.Cleanup(h.Close)
	k.URL, k.Node, k.HTTP = h.URL, node, h.Client()
	return k
}

// Client is a client of the KDS for an enclave, at url or, if that is empty, at
// the KDS itself. Its constraint is met by the KDS. It asks once: what a test
// makes go wrong is not over in a moment.
func (k *KDS) Client(t testing.TB, p attest.Platform, url string) *kds.Client {
	t.Helper()
	if url == "" {
		url = k.URL
	}
	self, err := k.Platform.Self()
	must(t, err)
	return &kds.Client{URL: url, Platform: p, Verifier: k.Verifier, HTTP: k.HTTP, Tries: 1,
		Constraint: Policy(t, "C:"+string(self.CodeHash)+" SEC:"+self.Level.String())}
}

// Entries are the lines of the KDS's audit log.
func (k *KDS) Entries(t testing.TB) []audit.Entry {
	t.Helper()
	var text bytes.Buffer
	must(t, bolt.Batches(t.Context(), k.AuditPath, 1, &text))
	var all []audit.Entry
	keys := []ed25519.PublicKey{k.AuditKey.Public().(ed25519.PublicKey)}
	_, err := audit.Verify(&text, audit.VerifyOptions{Keys: keys}, func(e audit.Entry) error { all = append(all, e); return nil })
	must(t, err)
	return all
}

// Sim is a simulated enclave on a new CPU.
func Sim(t testing.TB, b sim.Build) *sim.Enclave {
	t.Helper()
	cpu, err := sim.NewCPU(t.TempDir())
	must(t, err)
	e, err := cpu.Start(b, sim.Options{})
	must(t, err)
	return e
}

// Policy is a parsed constraint.
func Policy(t testing.TB, text string) policy.Constraint {
	t.Helper()
	c, err := policy.Parse(text)
	must(t, err)
	return c
}

// Spec is a development spec with a policy.
func Spec(t testing.TB, text string) kds.Spec {
	t.Helper()
	return kds.Spec{Name: kds.EnclavePersistence, MasterKeyType: kds.Development, PolicyConstraint: Policy(t, text)}
}

// AppPolicy is met by AppBuild on a simulated CPU, whatever its code.
const AppPolicy = "S:BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB PROD:1 SEC:INSECURE"

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
