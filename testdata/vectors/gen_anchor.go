//go:build ignore

// This program made anchor.json. It knows docs/protocol.md, "Anchor", and the
// standard library, and nothing of coffer's code: what it computes is a second
// opinion. The file is golden: if a test disagrees with it, the code is wrong.
//
//	go run gen_anchor.go
package main

import (
	"bytes"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"os"
	"strings"
)

// message is a request and its answer, or one of them with a defect.
type message struct {
	Name    string `json:"name"`
	Hunts   string `json:"hunts"`
	Want    string `json:"want"` // ok, or refused: the MAC is not that of the message
	Request string `json:"request"`
	Answer  string `json:"answer,omitempty"`
}

// record is the bytes that a node keeps, whole or with a defect.
type record struct {
	Name  string `json:"name"`
	Hunts string `json:"hunts"`
	Want  string `json:"want"` // ok, or damaged
	Bytes string `json:"bytes"`
}

const (
	name   = "EnclavePersistence"
	typ    = "development"
	volume = "c0ffe400000000000000000000000001"
)

var (
	policy = "S:" + strings.Repeat("FEDCBA9876543210", 4) + " PROD:1 SEC:STALE"
	next   = "S:" + strings.Repeat("FEDCBA9876543210", 4) + " PROD:1 REVOKE:2 SEC:STALE"
	master = bytes.Repeat([]byte{0x5a}, 32)
	nonce  = bytes.Repeat([]byte{0x0e}, 32)
	before = state(3, 7, 31)
	after  = state(3, 9, 44)
)

// list: each part behind its length, 32 bits big-endian.
func list(parts ...[]byte) []byte {
	var b []byte
	for _, p := range parts {
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(p))), p...)
	}
	return b
}

func u32(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }
func u64(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

func derive(secret, info []byte) []byte {
	k, err := hkdf.Key(sha256.New, secret, nil, string(info), 32)
	if err != nil {
		panic(err)
	}
	return k
}

func anchorKey(policy string) []byte {
	return derive(master, list([]byte("coffer/kds/v1"), []byte("anchor"), []byte("HMAC-SHA256"), []byte(typ), u32(1), []byte(name), []byte(policy)))
}

func mac(key []byte, label string, b []byte) []byte {
	m := hmac.New(sha256.New, derive(key, list([]byte(label))))
	m.Write(b)
	return m.Sum(nil)
}

func state(epoch, root, sequence uint64) []byte {
	return bytes.Join([][]byte{u64(epoch), bytes.Repeat([]byte{0x0b}, 16), u64(root), u64(sequence), bytes.Repeat([]byte{0xaa}, 32)}, nil)
}

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

// names is how a spec stands in a list.
func names(policy string) [][]byte {
	return [][]byte{[]byte(name), []byte(typ), []byte(policy), []byte("anchor"), u32(1)}
}

const requestLabel, answerLabel = "coffer/kds/v1/anchor request", "coffer/kds/v1/anchor answer"

// request returns a request and the list that its MACs are over.
func request(op string, version uint64, state []byte, to string) (body map[string]any, over []byte) {
	parts := append([][]byte{[]byte(requestLabel)}, names(policy)...)
	parts = append(parts, unhex(volume), []byte(op), u64(version), state)
	if to != "" {
		parts = append(parts, names(to)...)
	}
	over = list(append(parts, nonce)...)
	spec := func(policy string) map[string]string {
		return map[string]string{"name": name, "masterKeyType": typ, "policyConstraint": policy}
	}
	body = map[string]any{
		"spec": spec(policy), "generation": 1, "volume": unhex(volume), "op": op,
		"nonce": nonce, "mac": mac(anchorKey(policy), requestLabel, over),
	}
	if version > 0 {
		body["version"] = version
	}
	if state != nil {
		body["state"] = state
	}
	if to != "" {
		body["to"] = map[string]any{"spec": spec(to), "generation": 1, "mac": mac(anchorKey(to), requestLabel, over)}
	}
	return body, over
}

func answer(over []byte, status string, version uint64, state []byte) map[string]any {
	sum := sha256.Sum256(over)
	b := list([]byte(answerLabel), sum[:], []byte(status), u64(version), state)
	a := map[string]any{"status": status, "mac": mac(anchorKey(policy), answerLabel, b)}
	if version > 0 {
		a["version"], a["state"] = version, state
	}
	return a
}

func text(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// with is m with one field changed.
func with(m map[string]any, field string, value any) map[string]any {
	c := map[string]any{}
	for k, v := range m {
		c[k] = v
	}
	c[field] = value
	return c
}

func flipped(b []byte, at int) []byte {
	b = bytes.Clone(b)
	b[at] ^= 1
	return b
}

func messages() []message {
	read, readOver := request("read", 0, nil, "")
	advance, advanceOver := request("advance", 4, after, "")
	move, moveOver := request("move", 5, nil, next)
	ok := answer(advanceOver, "ok", 5, after)
	return []message{
		{"read", "another list", "ok", text(read), text(answer(readOver, "ok", 4, before))},
		{"read of nothing", "another list", "ok", text(read), text(answer(readOver, "none", 0, nil))},
		{"advance", "another list", "ok", text(advance), text(ok)},
		{"conflict", "another list", "ok", text(advance), text(answer(advanceOver, "conflict", 6, after))},
		{"move", "another list", "ok", text(move), text(answer(moveOver, "ok", 6, after))},
		{"request: the MAC", "a MAC that is not compared", "refused", text(with(advance, "mac", flipped(advance["mac"].([]byte), 31))), ""},
		{"request: the volume", "a volume outside of the MAC", "refused", text(with(advance, "volume", flipped(unhex(volume), 0))), ""},
		{"request: the version", "a version outside of the MAC", "refused", text(with(advance, "version", 5)), ""},
		{"request: the state", "a state outside of the MAC", "refused", text(with(advance, "state", before)), ""},
		{"request: the nonce", "an old request made new", "refused", text(with(advance, "nonce", flipped(nonce, 0))), ""},
		{"request: the generation", "another key", "refused", text(with(advance, "generation", 2)), ""},
		{"answer: the MAC", "a MAC that is not compared", "refused", text(advance), text(with(ok, "mac", flipped(ok["mac"].([]byte), 0)))},
		{"answer: the status", "a conflict that is called done", "refused", text(advance), text(with(answer(advanceOver, "conflict", 5, after), "status", "ok"))},
		{"answer: the version", "a version outside of the MAC", "refused", text(advance), text(with(ok, "version", 6))},
		{"answer: the state", "a state outside of the MAC", "refused", text(advance), text(with(ok, "state", before))},
		{"answer: to another request", "an old answer", "refused", text(advance), text(answer(readOver, "ok", 5, after))},
	}
}

func records() []record {
	whole := func(b []byte) []byte { sum := sha256.Sum256(b); return append(bytes.Clone(b), sum[:]...) }
	owner := sha256.Sum256(list([]byte("coffer/kds/v1/spec"), []byte(name), []byte(typ), []byte(policy)))
	body := bytes.Join([][]byte{[]byte("coffanch"), {0, 1}, unhex(volume), owner[:], u64(4), before}, nil)
	good := whole(body)
	x := hex.EncodeToString
	return []record{
		{"one", "another order of fields", "ok", x(good)},
		{"another magic", "other files taken for records", "damaged", x(whole(flipped(body, 0)))},
		{"format version 0", "a version that is not known", "damaged", x(whole(flipped(body, 9)))},
		{"another volume", "records that are exchanged", "damaged", x(whole(flipped(body, 25)))},
		{"a state that was changed", "a hash that is not compared", "damaged", x(flipped(good, 100))},
		{"the hash", "a hash that is not compared", "damaged", x(flipped(good, len(good)-1))},
		{"cut off", "a read past the end", "damaged", x(good[:len(good)-1])},
		{"a byte more", "bytes that nothing accounts for", "damaged", x(append(bytes.Clone(good), 0))},
		{"nothing", "a read past the end", "damaged", ""},
	}
}

func main() {
	b, err := json.MarshalIndent(map[string]any{
		"volume": volume, "master": hex.EncodeToString(master), "policyConstraint": policy,
		"anchorKey": hex.EncodeToString(anchorKey(policy)), "toPolicyConstraint": next, "toAnchorKey": hex.EncodeToString(anchorKey(next)),
		"messages": messages(), "records": records(),
	}, "", "\t")
	if err == nil {
		err = os.WriteFile("anchor.json", append(b, '\n'), 0o644)
	}
	if err != nil {
		panic(err)
	}
}
