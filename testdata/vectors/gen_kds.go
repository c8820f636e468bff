//go:build ignore

// This program made kds-derivation.json and kds-protocol.json. It knows the
// tables of docs/protocol.md and the standard library, and nothing of coffer's
// code: what it computes is a second opinion. The files are golden: if a test
// disagrees with them, the code is wrong.
//
//	go run gen_kds.go
package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"os"
	"strings"
)

func main() {
	write("kds-derivation.json", derivation())
	write("kds-protocol.json", protocol())
}

// list: each part behind its length, 32 bits big-endian.
func list(parts ...[]byte) []byte {
	var b []byte
	for _, p := range parts {
		b = append(b, u32(uint32(len(p)))...)
		b = append(b, p...)
	}
	return b
}

func u16(n uint16) []byte { return []byte{byte(n >> 8), byte(n)} }
func u32(n uint32) []byte { return []byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)} }
func u64(n uint64) []byte { return append(u32(uint32(n>>32)), u32(uint32(n))...) }

// hkdf is RFC 5869 with SHA-256, no salt and 32 bytes of output: one block.
func hkdf(secret, info []byte) []byte {
	extract := hmac.New(sha256.New, make([]byte, 32))
	extract.Write(secret)
	expand := hmac.New(sha256.New, extract.Sum(nil))
	expand.Write(info)
	expand.Write([]byte{1})
	return expand.Sum(nil)
}

type derived struct {
	What       string `json:"what"`
	Master     string `json:"master"`
	Purpose    string `json:"purpose"`
	Algorithm  string `json:"algorithm"`
	Type       string `json:"masterKeyType"`
	Generation uint32 `json:"generation"`
	Name       string `json:"name"`
	Policy     string `json:"policyConstraint"`
	Canonical  string `json:"canonicalPolicy"`
	Info       string `json:"info"`
	Key        string `json:"key"`
	SpecHash   string `json:"specHash"`
}

var (
	code   = strings.Repeat("0123456789abcdef", 4)
	signer = strings.Repeat("FEDCBA9876543210", 4)
	master = bytes.Repeat([]byte{0x5a}, 32)
)

func derivation() []derived {
	C, S := "C:"+strings.ToUpper(code), "S:"+signer
	const storage, pair = "HKDF-SHA256", "MLKEM768-X25519"
	own := S + " PROD:1 SEC:STALE"
	all := []derived{
		{What: "a volume of one signer and product", Purpose: "storage", Algorithm: storage, Type: "development", Generation: 1, Name: "EnclavePersistence", Policy: own, Canonical: own},
		{What: "the same, spelt otherwise: the same key", Purpose: "storage", Algorithm: storage, Type: "development", Generation: 1, Name: "EnclavePersistence", Policy: "  PROD:+01  S:" + strings.ToLower(signer) + " ", Canonical: own},
		{What: "mail to the same spec", Purpose: "mail", Algorithm: pair, Type: "development", Generation: 1, Name: "EnclavePersistence", Policy: own, Canonical: own},
		{What: "handover to the same spec", Purpose: "handover", Algorithm: pair, Type: "development", Generation: 1, Name: "EnclavePersistence", Policy: own, Canonical: own},
		{What: "another master key type and generation", Purpose: "storage", Algorithm: storage, Type: "cluster", Generation: 2, Name: "EnclavePersistence", Policy: own, Canonical: own},
		{What: "an HSM, a name that is not ASCII", Purpose: "storage", Algorithm: storage, Type: "azure_hsm", Generation: 0x01020304, Name: "Größe 漢字", Policy: own, Canonical: own},
		{What: "every term, in another order", Purpose: "storage", Algorithm: storage, Type: "development", Generation: 1, Name: "EnclavePersistence",
			Policy:    "EXPIRE:p18m2w1d SEC:SECURE REVOKE:007 PROD:65535 S:" + signer + " C:" + code + " C:" + strings.Repeat("0", 128) + " C:" + strings.ToUpper(code),
			Canonical: "C:" + strings.Repeat("0", 128) + " " + C + " " + S + " PROD:65535 REVOKE:7 EXPIRE:P1Y6M15D SEC:SECURE"},
		{What: "REVOKE:0 is not the same as no REVOKE", Purpose: "storage", Algorithm: storage, Type: "development", Generation: 1, Name: "EnclavePersistence", Policy: S + " PROD:1 REVOKE:0", Canonical: S + " PROD:1 REVOKE:0 SEC:STALE"},
	}
	for i := range all {
		d := &all[i]
		d.Master = hex.EncodeToString(master)
		info := list([]byte("coffer/kds/v1"), []byte(d.Purpose), []byte(d.Algorithm), []byte(d.Type), u32(d.Generation), []byte(d.Name), []byte(d.Canonical))
		d.Info, d.Key = hex.EncodeToString(info), hex.EncodeToString(hkdf(master, info))
		sum := sha256.Sum256(list([]byte("coffer/kds/v1/spec"), []byte(d.Name), []byte(d.Type), []byte(d.Canonical)))
		d.SpecHash = hex.EncodeToString(sum[:])
	}
	return all
}

// protocol is the worked example of docs/protocol.md.
func protocol() map[string]string {
	name, typ, policy, purpose := "EnclavePersistence", "development", "S:"+signer+" PROD:1 SEC:INSECURE", "storage"
	public := bytes.Repeat([]byte{0x11}, 1216) // not a real key: it is only hashed
	sealed := bytes.Repeat([]byte{0x22}, 1168)
	response := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{0x33}, 32))
	responsePublic := response.Public().(ed25519.PublicKey)
	cpu := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{0x44}, 32))

	request := sha512.Sum512(list([]byte("coffer/kds/v1/private request"), []byte(name), []byte(typ), []byte(policy), []byte(purpose), u32(0), public))
	answer := list([]byte("coffer/kds/v1/private answer"), request[:], []byte(name), []byte(typ), []byte(policy), []byte(purpose), u32(1), sealed)
	publicAnswer := list([]byte("coffer/kds/v1/public answer"), []byte(name), []byte(typ), []byte(policy), []byte("mail"), u32(1), public)
	responseData := sha512.Sum512(list([]byte("coffer/kds/v1/response key"), responsePublic))

	hash := func(s string) []byte { b, _ := hex.DecodeString(s); return b }
	evidence := list([]byte("coffer/sim/v1/evidence"), cpu.Public().(ed25519.PublicKey), hash(code), hash(signer), u16(1), u32(2), u64(1_760_000_000_000), request[:])
	evidence = append(evidence, list(ed25519.Sign(cpu, evidence))...)

	entry := `{"sequence":1,"time":"2025-10-09T08:53:20Z","event":"started"}`
	chain := sha256.Sum256(list([]byte("coffer/kds/v1/audit"), make([]byte, 32), []byte(entry)))

	auditor := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{0x55}, 32))
	head := ed25519.Sign(auditor, list([]byte("coffer/kds/v1/audit head"), u64(1), u64(1), make([]byte, 32), chain[:]))

	exe, cfg := sha256.Sum256([]byte("executable")), sha256.Sum256([]byte("configuration"))
	measured := sha256.Sum256(list([]byte("coffer/sim/v1/code"), exe[:], cfg[:]))
	x := hex.EncodeToString
	return map[string]string{
		"name": name, "masterKeyType": typ, "policyConstraint": policy, "purpose": purpose,
		"requestHash": x(request[:]), "evidence": x(evidence),
		"responseKey": x(responsePublic), "responseKeyData": x(responseData[:]),
		"answerHash": sum(answer), "answerSignature": x(ed25519.Sign(response, answer)),
		"publicAnswerHash": sum(publicAnswer), "publicAnswerSignature": x(ed25519.Sign(response, publicAnswer)),
		"auditLine": `{"entry":` + entry + `,"chain":"` + x(chain[:]) + `"}`,
		"auditHead": `{"head":{"first":1,"last":1,"before":"` + x(make([]byte, 32)) + `","chain":"` + x(chain[:]) + `"},"key":"` +
			x(auditor.Public().(ed25519.PublicKey)) + `","signature":"` + x(head) + `"}`,
		"simCodeHash": x(measured[:]),
	}
}

func sum(b []byte) string { s := sha256.Sum256(b); return hex.EncodeToString(s[:]) }

func write(path string, v any) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		panic(err)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		panic(err)
	}
}
