package kdstest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/signal"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/audit"
	"github.com/coffer-fs/coffer/kds/kdstest"
	"github.com/coffer-fs/coffer/kds/master"
	"github.com/coffer-fs/coffer/kds/server"
	"github.com/coffer-fs/coffer/key"
)

// The attacks K01 to K10; K08 comes with the verifier of quotes.

var ctx = context.Background()

func wants(t *testing.T, what string, err, target error, text string) {
	t.Helper()
	if !errors.Is(err, target) || !strings.Contains(err.Error(), text) {
		t.Errorf("%s: %v, want %v with %q", what, err, target, text)
	}
}

// released counts the keys that left a KDS.
func released(t *testing.T, k *kdstest.KDS) (n int) {
	t.Helper()
	for _, e := range k.Entries(t) {
		if e.Event == audit.Released {
			n++
		}
	}
	return n
}

// K01: the relay changes name, type, policy or purpose, in the request or in
// the answer; and a KDS does the same and signs it.
func TestK01_SpecSwap(t *testing.T) {
	spec := kdstest.Spec(t, kdstest.AppPolicy)
	swaps := map[string]func(*kds.Spec, *kds.Purpose, *kds.Generation){
		"name": func(s *kds.Spec, _ *kds.Purpose, _ *kds.Generation) { s.Name = "other" },
		"type": func(s *kds.Spec, _ *kds.Purpose, _ *kds.Generation) { s.MasterKeyType = kds.Cluster },
		"policy": func(s *kds.Spec, _ *kds.Purpose, _ *kds.Generation) {
			s.PolicyConstraint = kdstest.Policy(t, "C:"+string(kdstest.Hash("A"))+" SEC:INSECURE")
		},
		"purpose":    func(_ *kds.Spec, p *kds.Purpose, _ *kds.Generation) { *p = kds.Mail },
		"generation": func(_ *kds.Spec, _ *kds.Purpose, g *kds.Generation) { *g = 2 },
	}
	for what, swap := range swaps {
		k := kdstest.New(t, kdstest.Options{Masters: []master.Provider{
			kdstest.Master{KeyType: kds.Development, Generations: 2}, kdstest.Master{KeyType: kds.Cluster, Generations: 2}}})
		app := kdstest.Sim(t, kdstest.AppBuild)
		relay := k.NewRelay(t)
		client := k.Client(t, app, relay.URL)
		get := func() error { _, err := client.Release(ctx, spec, kds.Storage, 1); return err }

		relay.Request = kdstest.Edit(t, func(r *kds.PrivateRequest) { swap(&r.Spec, &r.Purpose, &r.Generation) })
		wants(t, what+" in the request", get(), kds.ErrRefused, "it is not for this request")
		if n := released(t, k); n != 0 {
			t.Errorf("%s in the request: %d keys left", what, n)
		}
		relay.Request = nil
		relay.Answer = kdstest.Edit(t, func(a *kds.PrivateAnswer) { swap(&a.Spec, &a.Purpose, &a.Generation) })
		wants(t, what+" in the answer", get(), kds.ErrWrongAnswer, "asked for")
		relay.Answer = kdstest.Edit(t, func(a *kds.PublicAnswer) { swap(&a.Spec, &a.Purpose, &a.Generation) })
		if what != "purpose" && what != "generation" {
			_, err := client.Public(ctx, spec, kds.Mail)
			wants(t, what+" in the public answer", err, kds.ErrWrongAnswer, "asked for")
		}
		if what == "purpose" {
			_, err := client.Public(ctx, spec, kds.Handover)
			wants(t, what+" in the public answer", err, kds.ErrWrongAnswer, "asked for")
		}

		liar := kdstest.Liar(t, k.Platform, func(r kds.PrivateRequest) kds.PrivateAnswer {
			sealed, err := r.SealKey(key.New())
			if err != nil {
				t.Error(err)
			}
			a := kds.PrivateAnswer{Spec: r.Spec, Purpose: r.Purpose, Generation: 1, SealedKey: sealed}
			swap(&a.Spec, &a.Purpose, &a.Generation)
			return a
		})
		client.URL = liar
		wants(t, what+" by the KDS", get(), kds.ErrWrongAnswer, "asked for")
	}
}

// K02: an old request is sent again. It is answered, to the first asker only.
func TestK02_EvidenceReplay(t *testing.T) {
	k := kdstest.New(t, kdstest.Options{})
	relay := k.NewRelay(t)
	client := k.Client(t, kdstest.Sim(t, kdstest.AppBuild), relay.URL)
	spec := kdstest.Spec(t, kdstest.AppPolicy)
	if _, err := client.Private(ctx, spec, kds.Storage); err != nil {
		t.Fatal(err)
	}
	oldRequest, oldAnswer := relay.Requests[0], relay.Answers[0]

	status, again := k.Post(t, "/private", oldRequest)
	if status != http.StatusOK {
		t.Fatalf("the KDS keeps no state, and answered %d: %s", status, again)
	}
	for what, answer := range map[string][]byte{"the old answer": oldAnswer, "the answer to the old request": again} {
		relay.Answer = func([]byte) []byte { return answer }
		_, err := client.Private(ctx, spec, kds.Storage)
		wants(t, what, err, kds.ErrDamaged, "signature does not match")
	}
	// the sealed key of an old answer in a new one
	var old kds.PrivateAnswer
	if err := json.Unmarshal(oldAnswer, &old); err != nil {
		t.Fatal(err)
	}
	relay.Answer = kdstest.Edit(t, func(a *kds.PrivateAnswer) { a.SealedKey = old.SealedKey })
	_, err := client.Private(ctx, spec, kds.Storage)
	wants(t, "an old sealed key", err, kds.ErrDamaged, "signature does not match")
	client.URL = kdstest.Liar(t, k.Platform, func(r kds.PrivateRequest) kds.PrivateAnswer {
		return kds.PrivateAnswer{Spec: r.Spec, Purpose: r.Purpose, Generation: 1, SealedKey: old.SealedKey}
	})
	_, err = client.Private(ctx, spec, kds.Storage)
	wants(t, "an old sealed key, well signed", err, kds.ErrDamaged, "does not open")

	// the evidence of an old request on a new one
	relay.Answer = nil
	var first kds.PrivateRequest
	if err := json.Unmarshal(oldRequest, &first); err != nil {
		t.Fatal(err)
	}
	client.URL = relay.URL
	relay.Request = kdstest.Edit(t, func(r *kds.PrivateRequest) { r.Evidence = first.Evidence })
	_, err = client.Private(ctx, spec, kds.Storage)
	wants(t, "old evidence", err, kds.ErrRefused, "it is not for this request")
}

// K03: the relay puts its own HPKE key into the request.
func TestK03_KeySubstitution(t *testing.T) {
	k := kdstest.New(t, kdstest.Options{})
	relay := k.NewRelay(t)
	client := k.Client(t, kdstest.Sim(t, kdstest.AppBuild), relay.URL)
	own, err := kds.KeyPair(key.New())
	if err != nil {
		t.Fatal(err)
	}
	relay.Request = kdstest.Edit(t, func(r *kds.PrivateRequest) { r.HPKEPublicKey = own.PublicKey().Bytes() })
	_, err = client.Private(ctx, kdstest.Spec(t, kdstest.AppPolicy), kds.Storage)
	wants(t, "another HPKE key", err, kds.ErrRefused, "it is not for this request")

	// and the node's evidence does not vouch for an asker, nor the reverse
	relay.Request = kdstest.Edit(t, func(r *kds.PrivateRequest) {
		e, err := k.Platform.Quote(kds.ResponseKeyData(nil))
		if err != nil {
			t.Error(err)
		}
		r.Evidence = e
	})
	_, err = client.Private(ctx, kdstest.Spec(t, kdstest.AppPolicy), kds.Storage)
	wants(t, "a node's evidence", err, kds.ErrRefused, "it is not for this request")
	if n := released(t, k); n != 0 {
		t.Errorf("%d keys left", n)
	}
}

// K04: a KDS whose evidence misses kdsEnclaveConstraint, is for another key, or
// is not there.
func TestK04_FakeKDS(t *testing.T) {
	k := kdstest.New(t, kdstest.Options{})
	spec := kdstest.Spec(t, kdstest.AppPolicy)
	app := kdstest.Sim(t, kdstest.AppBuild)
	yes := func(r kds.PrivateRequest) kds.PrivateAnswer {
		sealed, err := r.SealKey(key.New())
		if err != nil {
			t.Error(err)
		}
		return kds.PrivateAnswer{Spec: r.Spec, Purpose: r.Purpose, Generation: 1, SealedKey: sealed}
	}
	refused := func(what, url, text string) {
		t.Helper()
		_, err := k.Client(t, app, url).Private(ctx, spec, kds.Storage)
		wants(t, what, err, kds.ErrNotTrusted, text)
	}
	other := kdstest.NodeBuild
	other.CodeHash = kdstest.Hash("F")
	refused("another enclave", kdstest.Liar(t, kdstest.Sim(t, other), yes), "C: wants code hash DDDD")

	relay := k.NewRelay(t)
	edit := func(change func(*kds.PrivateAnswer)) { relay.Answer = kdstest.Edit(t, change) }
	edit(func(a *kds.PrivateAnswer) { a.Evidence = attest.Evidence{Data: []byte{}} })
	refused("no evidence", relay.URL, `format "" is not accepted`)
	edit(func(a *kds.PrivateAnswer) { a.Evidence.Data[100] ^= 1 })
	refused("forged evidence", relay.URL, "evidence is not valid")
	edit(func(a *kds.PrivateAnswer) { a.ResponseKey = []byte{} })
	refused("no response key", relay.URL, "response key has 0 bytes")

	// the relay signs itself, and shows the KDS's evidence
	mine := kdstest.NewSigner(t, kdstest.Sim(t, other))
	edit(func(a *kds.PrivateAnswer) {
		evidence := a.Evidence
		a.Signed = mine.Sign(nil)
		a.Evidence = evidence
	})
	refused("another response key", relay.URL, "it is not for the response key")

	// the evidence of an asker is no evidence of a KDS
	edit(func(a *kds.PrivateAnswer) {
		var r kds.PrivateRequest
		if err := json.Unmarshal(relay.Requests[len(relay.Requests)-1], &r); err != nil {
			t.Error(err)
		}
		a.Evidence = r.Evidence
	})
	refused("an asker's evidence", relay.URL, "it is not for the response key")

	// the relay answers with a public key of its own
	own, err := kds.KeyPair(key.New())
	if err != nil {
		t.Fatal(err)
	}
	relay.Answer = kdstest.Edit(t, func(a *kds.PublicAnswer) { a.HPKEPublicKey = own.PublicKey().Bytes() })
	_, err = k.Client(t, nil, relay.URL).Public(ctx, spec, kds.Mail)
	wants(t, "another public key", err, kds.ErrDamaged, "signature does not match")
	relay.Answer = kdstest.Edit(t, func(a *kds.PublicAnswer) {
		a.HPKEPublicKey = own.PublicKey().Bytes()
		a.Signed = mine.Sign(a.SignedBytes())
	})
	_, err = k.Client(t, nil, relay.URL).Public(ctx, spec, kds.Mail)
	wants(t, "another public key, signed", err, kds.ErrNotTrusted, "C: wants code hash DDDD")
}

// K05: the same name with a looser policy is another key.
func TestK05_LooserPolicy(t *testing.T) {
	k := kdstest.New(t, kdstest.Options{})
	build := kdstest.AppBuild
	build.RevocationLevel = 5
	client := k.Client(t, kdstest.Sim(t, build), "")
	signer := string(build.SignerHash)
	seen := map[string]string{}
	for _, p := range []string{
		"S:" + signer + " PROD:1 REVOKE:5 SEC:INSECURE",
		"S:" + signer + " PROD:1 REVOKE:4 SEC:INSECURE",
		"S:" + signer + " PROD:1 REVOKE:0 SEC:INSECURE",
		"S:" + signer + " PROD:1 SEC:INSECURE",
		"S:" + signer + " PROD:1 SEC:INSECURE EXPIRE:P1Y",
		"S:" + signer + " PROD:1 SEC:INSECURE C:" + string(build.CodeHash),
		"C:" + string(build.CodeHash) + " SEC:INSECURE",
	} {
		got, err := client.Private(ctx, kdstest.Spec(t, p), kds.Storage)
		if err != nil {
			t.Fatalf("%s: %v", p, err)
		}
		name := fmt.Sprintf("%x", got.Derive(nil, "name").Bytes())
		if seen[name] != "" {
			t.Errorf("%q and %q give one key", p, seen[name])
		}
		seen[name] = p
	}
	_, err := client.Private(ctx, kdstest.Spec(t, "S:"+signer+" PROD:1 REVOKE:6 SEC:INSECURE"), kds.Storage)
	wants(t, "a stricter policy", err, kds.ErrRefused, "REVOKE")
}

// K06: simulated evidence for another master key, to a release node, and of a
// KDS to a release enclave.
func TestK06_SimEvidence(t *testing.T) {
	all := []master.Provider{kdstest.Master{KeyType: kds.Development}, kdstest.Master{KeyType: kds.Cluster}, kdstest.Master{KeyType: kds.AzureHSM}}
	simulated := kdstest.Sim(t, kdstest.AppBuild)
	release := kdstest.New(t, kdstest.Options{Platform: kdstest.Release(kdstest.NodeBuild, attest.Secure), Masters: all})
	debug := kdstest.New(t, kdstest.Options{Masters: all})
	for _, typ := range []kds.MasterKeyType{kds.Cluster, kds.AzureHSM} {
		spec := kdstest.Spec(t, kdstest.AppPolicy)
		spec.MasterKeyType = typ
		for _, k := range []*kdstest.KDS{release, debug} {
			_, err := k.Client(t, simulated, "").Private(ctx, spec, kds.Storage)
			wants(t, string(typ), err, kds.ErrRefused, "development master key only")
		}
	}
	_, err := release.Client(t, simulated, "").Private(ctx, kdstest.Spec(t, kdstest.AppPolicy), kds.Storage)
	wants(t, "release node", err, kds.ErrRefused, "a release node gives nothing to simulated enclaves")
	if n := released(t, release) + released(t, debug); n != 0 {
		t.Errorf("%d keys left", n)
	}
	if _, err := debug.Client(t, simulated, "").Private(ctx, kdstest.Spec(t, kdstest.AppPolicy), kds.Storage); err != nil {
		t.Errorf("simulated evidence, development master key: %v", err)
	}
	// a simulated KDS meets the constraint of a release enclave, and is refused
	_, err = debug.Client(t, kdstest.Release(kdstest.AppBuild, attest.Secure), "").Private(ctx, kdstest.Spec(t, kdstest.AppPolicy), kds.Storage)
	if err == nil {
		t.Error("a release enclave got a key from a simulated KDS")
	}
	cluster := kdstest.Spec(t, "C:"+string(kdstest.AppBuild.CodeHash)+" SEC:SECURE")
	cluster.MasterKeyType = kds.Cluster
	_, err = debug.Client(t, kdstest.Release(kdstest.AppBuild, attest.Secure), "").Private(ctx, cluster, kds.Storage)
	wants(t, "simulated KDS", err, kds.ErrNotTrusted, "a simulated KDS for a release enclave")
}

// K07: a release enclave asks for the development master key.
func TestK07_DevelopmentToRelease(t *testing.T) {
	node := kdstest.Release(kdstest.NodeBuild, attest.Secure)
	k := kdstest.New(t, kdstest.Options{Platform: node, Masters: []master.Provider{
		kdstest.Master{KeyType: kds.Development}, kdstest.Master{KeyType: kds.Cluster}}})
	app := kdstest.Release(kdstest.AppBuild, attest.Stale)
	spec := kdstest.Spec(t, "C:"+string(kdstest.AppBuild.CodeHash))
	_, err := k.Client(t, app, "").Private(ctx, spec, kds.Storage)
	wants(t, "development", err, kds.ErrRefused, "the development master key is not for release enclaves")
	if n := released(t, k); n != 0 {
		t.Errorf("%d keys left", n)
	}
	spec.MasterKeyType = kds.Cluster
	if _, err := k.Client(t, app, "").Private(ctx, spec, kds.Storage); err != nil {
		t.Errorf("cluster: %v", err)
	}
	app.Identity.Mode, app.Identity.Level = attest.Debug, attest.Insecure
	spec = kdstest.Spec(t, "C:"+string(kdstest.AppBuild.CodeHash)+" SEC:INSECURE")
	if _, err := k.Client(t, app, "").Private(ctx, spec, kds.Storage); err != nil {
		t.Errorf("a debug enclave: %v", err)
	}
}

// K09: huge, deep, truncated, doubled and slow bodies, and too many at once.
func TestK09_BodyBomb(t *testing.T) {
	k := kdstest.New(t, kdstest.Options{Change: func(o *server.Options) { o.BodyTimeout, o.MaxRequests = 50*time.Millisecond, 2 }})
	relay := k.NewRelay(t)
	if _, err := k.Client(t, kdstest.Sim(t, kdstest.AppBuild), relay.URL).Private(ctx, kdstest.Spec(t, kdstest.AppPolicy), kds.Storage); err != nil {
		t.Fatal(err)
	}
	good := string(relay.Requests[0])
	for what, c := range map[string]struct {
		body   string
		status int
		reason string
	}{
		"empty":          {"", 400, "EOF"},
		"truncated":      {good[:len(good)/2], 400, "malformed"},
		"huge":           {good + strings.Repeat(" ", kds.MaxRequestBytes), 413, "larger than 131072 bytes"},
		"huge string":    {`{"spec":"` + strings.Repeat("a", kds.MaxRequestBytes*4) + `"}`, 413, "larger"},
		"deep objects":   {strings.Repeat(`{"spec":`, 10_000), 400, "nested deeper"},
		"deep arrays":    {strings.Repeat(`[`, 100_000), 400, "nested deeper"},
		"twice":          {strings.Replace(good, `{"spec"`, `{"purpose":"mail","spec"`, 1), 400, "given twice"},
		"unknown":        {strings.Replace(good, `{"spec"`, `{"admin":true,"spec"`, 1), 400, "unknown field"},
		"other case":     {strings.Replace(good, `"purpose"`, `"Purpose"`, 1), 400, "unknown field"},
		"null":           {strings.Replace(good, `"storage"`, `null`, 1), 400, "null"},
		"trailing":       {good + "{}", 400, "malformed"},
		"not UTF-8":      {strings.Replace(good, "EnclavePersistence", "\xff\xfe", 1), 400, "UTF-8"},
		"no name":        {strings.Replace(good, "EnclavePersistence", "", 1), 400, "1 to 255 bytes"},
		"odd purpose":    {strings.Replace(good, `"storage"`, `"all"`, 1), 400, "unknown purpose"},
		"bad policy":     {strings.Replace(good, "PROD:1", "PROD:1 PROD:1", 1), 400, "more than one PROD"},
		"short key":      {strings.Replace(good, `"hpkePublicKey":"`, `"hpkePublicKey":"AAAA","x":"`, 1), 400, "unknown field"},
		"bad generation": {strings.Replace(good, `"storage"`, `"storage","generation":-1`, 1), 400, "malformed"},
	} {
		status, answer := k.Post(t, "/private", []byte(c.body))
		var r kds.Refusal
		if err := json.Unmarshal(answer, &r); err != nil || status != c.status || !strings.Contains(r.Reason, c.reason) {
			t.Errorf("%s: %d %s, want %d %q", what, status, answer, c.status, c.reason)
		}
	}
	// a body that never ends: it has a time, and then its connection is closed
	addr := strings.TrimPrefix(k.URL, "http://")
	slow := func(request string) net.Conn {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		_ = c.SetDeadline(time.Now().Add(20 * time.Second))
		fmt.Fprintf(c, "%s HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n%s\r\n\r\n{", request, "API-VERSION: 1")
		return c
	}
	if answer, err := io.ReadAll(slow("POST /private")); err != nil || !bytes.Contains(answer, []byte("408 Request Timeout")) || !bytes.Contains(answer, []byte("did not arrive within 50ms")) {
		t.Errorf("slow: %q, %v", answer, err)
	}
	// nor is the connection kept for a body that nobody reads
	for _, request := range []string{"POST /nowhere", "GET /attestation", "POST /healthz", "GET /readyz", "POST /master-key"} {
		c := slow(request)
		if _, err := io.ReadAll(c); err != nil {
			t.Errorf("%s: %v", request, err)
		}
	}
	// a body that ends with its connection
	short := slow("POST /private")
	_ = short.(*net.TCPConn).CloseWrite()
	if answer, err := io.ReadAll(short); err != nil || !bytes.Contains(answer, []byte("400 Bad Request")) {
		t.Errorf("cut off: %q, %v", answer, err)
	}
	// after all that, the node answers
	if status, answer := k.Post(t, "/private", []byte(good)); status != 200 {
		t.Errorf("afterwards: %d %s", status, answer)
	}
}

// As many requests as there are places are read; the next is sent away.
func TestK09_TooManyRequests(t *testing.T) {
	const places = 2
	k := kdstest.New(t, kdstest.Options{Change: func(o *server.Options) { o.BodyTimeout, o.MaxRequests = time.Minute, places }})
	var held []*io.PipeWriter
	results := make(chan error, places)
	for range places {
		r, w := io.Pipe()
		held = append(held, w)
		q, err := http.NewRequest(http.MethodPost, k.URL+"/public", r)
		if err != nil {
			t.Fatal(err)
		}
		q.Header.Set(kds.VersionHeader, kds.Version)
		go func() {
			a, err := k.HTTP.Do(q)
			if err == nil {
				_ = a.Body.Close()
			}
			results <- err
		}()
		if _, err := w.Write([]byte("{")); err != nil { // returns when it is being sent
			t.Fatal(err)
		}
	}
	// the requests are on their way: ask until both have their places
	deadline := time.Now().Add(10 * time.Second)
	for {
		status, answer := k.Post(t, "/public", nil)
		if status == http.StatusTooManyRequests {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("still %d: %s", status, answer)
		}
	}
	for _, w := range held {
		_ = w.Close()
	}
	for range places {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if status, _ := k.Post(t, "/public", nil); status != http.StatusBadRequest {
		t.Errorf("afterwards: %d", status)
	}
}

// broken is an audit log that cannot be written.
type broken struct{ err error }

func (b *broken) Append(audit.Entry) error { return b.err }
func (b *broken) Err() error               { return b.err }

// K10: without an audit line there is no key, and no refusal either; when the
// log works again, so does the node.
func TestK10_AuditDown(t *testing.T) {
	b := &broken{err: audit.ErrBroken}
	k := kdstest.New(t, kdstest.Options{Audit: b})
	client := k.Client(t, kdstest.Sim(t, kdstest.AppBuild), "")
	for _, policy := range []string{kdstest.AppPolicy, "C:" + string(kdstest.Hash("9"))} {
		_, err := client.Private(ctx, kdstest.Spec(t, policy), kds.Storage)
		var r *kds.RefusedError
		if !errors.As(err, &r) || r.Status != http.StatusServiceUnavailable || !r.Temporary() || strings.Contains(r.Reason, "audit") {
			t.Errorf("%s: %v", policy, err)
		}
	}
	if status := get(t, k, "/readyz"); status != http.StatusServiceUnavailable {
		t.Errorf("ready without audit: %d", status)
	}
	if status := get(t, k, "/healthz"); status != http.StatusOK {
		t.Errorf("healthz: %d", status)
	}
	b.err = nil
	if _, err := client.Private(ctx, kdstest.Spec(t, kdstest.AppPolicy), kds.Storage); err != nil {
		t.Error(err)
	}
	if status := get(t, k, "/readyz"); status != http.StatusOK {
		t.Errorf("not ready with audit: %d", status)
	}
}

// The same with a real log, whose file can't grow.
func TestK10_DiskFull(t *testing.T) {
	k := kdstest.New(t, kdstest.Options{})
	client := k.Client(t, kdstest.Sim(t, kdstest.AppBuild), "")
	signal.Ignore(unix.SIGXFSZ)
	defer signal.Reset(unix.SIGXFSZ)
	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &was); err != nil {
		t.Fatal(err)
	}
	for _, limit := range []unix.Rlimit{{Cur: 0, Max: was.Max}, was} { // what failed once stays failed
		if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &limit); err != nil {
			t.Fatal(err)
		}
		_, err := client.Private(ctx, kdstest.Spec(t, kdstest.AppPolicy), kds.Storage)
		if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &was); err != nil {
			t.Fatal(err)
		}
		wants(t, "full disk", err, kds.ErrRefused, "status 503")
	}
	if e := k.Entries(t); len(e) != 1 {
		t.Errorf("lines: %+v", e)
	}
}

func get(t *testing.T, k *kdstest.KDS, path string) int {
	t.Helper()
	a, err := k.HTTP.Get(k.URL + path)
	if err != nil {
		t.Fatal(err)
	}
	_ = a.Body.Close()
	return a.StatusCode
}
