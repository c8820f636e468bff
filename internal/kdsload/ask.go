package main

import (
	"bytes"
	"crypto/hpke"
	"encoding/json"
	"fmt"
	"os"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/attest/dcap/dcaptest"
	"github.com/coffer-fs/coffer/kds/attest/sim"
	"github.com/coffer-fs/coffer/kds/policy"
	"github.com/coffer-fs/coffer/key"
)

// request is one that is ready to be sent.
type request struct {
	text []byte
	q    kds.PrivateRequest
	sk   hpke.PrivateKey
}

// prepare makes the requests of different askers.
func (o options) prepare(n *process) ([]request, error) {
	p, spec, err := o.asker(n)
	if err != nil {
		return nil, err
	}
	var all []request
	for range o.requests {
		r, err := newRequest(p, spec)
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, nil
}

// asker is an enclave and the spec that it asks for.
func (o options) asker(n *process) (attest.Platform, kds.Spec, error) {
	text, typ := "S:BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB PROD:1 SEC:SECURE", kds.Cluster
	if o.evidence == "sim" {
		text, typ = "S:"+string(sim.DefaultSigner)+" PROD:1 SEC:INSECURE", kds.Development
	}
	constraint, err := policy.Parse(text)
	spec := kds.Spec{Name: kds.EnclavePersistence, MasterKeyType: typ, PolicyConstraint: constraint}
	if err != nil {
		return nil, spec, err
	}
	if o.evidence == "sim" {
		p, err := simulated(n.dir + "/asker")
		return p, spec, err
	}
	m, err := readMachine(n.dir)
	if err != nil {
		return nil, spec, err
	}
	e := dcaptest.Enclave{Machine: m}
	if o.evidence == "ego" {
		return dcaptest.EGo{Enclave: e}, spec, nil
	}
	_, c := m.Make(nil)
	e.Host = &c // made once, so that the node may keep what it verified
	return e, spec, nil
}

func simulated(dir string) (attest.Platform, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	measured, err := sim.MeasureSelf(nil)
	if err != nil {
		return nil, err
	}
	build, err := sim.File{}.Build(measured)
	if err != nil {
		return nil, err
	}
	cpu, err := sim.NewCPU(dir)
	if err != nil {
		return nil, err
	}
	return cpu.Start(build, sim.Options{})
}

func newRequest(p attest.Platform, spec kds.Spec) (request, error) {
	sk, err := hpke.MLKEM768X25519().GenerateKey()
	if err != nil {
		return request{}, err
	}
	q := kds.PrivateRequest{Spec: spec, Purpose: kds.Storage, HPKEPublicKey: sk.PublicKey().Bytes()}
	if q.Evidence, err = p.Quote(attest.ReportData(q.Hash())); err != nil {
		return request{}, err
	}
	body, err := json.Marshal(q)
	if err != nil {
		return request{}, err
	}
	var text bytes.Buffer
	fmt.Fprintf(&text, "POST /private HTTP/1.1\r\nHost: kds\r\n%s: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", kds.VersionHeader, kds.Version, len(body))
	text.Write(body)
	return request{text.Bytes(), q, sk}, nil
}

// check opens the key of an answer, as an asker does.
func (r request) check(body []byte) error {
	var a kds.PrivateAnswer
	if err := json.Unmarshal(body, &a); err != nil {
		return fmt.Errorf("%w: %w", errAnswer, err)
	}
	info := r.q.Hash()
	k, err := hpke.Open(r.sk, hpke.HKDFSHA256(), hpke.AES256GCM(), info[:], a.SealedKey)
	if err != nil || len(k) != key.Size {
		return fmt.Errorf("%w: %w", errAnswer, err)
	}
	clear(k)
	return nil
}
