package main

import (
	"encoding/binary"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/attest/dcap"
	"github.com/coffer-fs/coffer/kds/attest/platform"
)

// setupQuotes tells scripts where the real quotes are, in $QUOTES, and writes
// one of them in every form into the directory "forms".
func setupQuotes(env *testscript.Env) error {
	quotes, err := filepath.Abs(filepath.Join("..", "..", "testdata", "quotes"))
	if err != nil {
		return err
	}
	env.Setenv("QUOTES", quotes)
	forms, err := formsOf(quotes, env.WorkDir)
	if err != nil {
		return err
	}
	dir := filepath.Join(env.WorkDir, "forms")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	for name, b := range forms {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			return err
		}
	}
	return nil
}

func formsOf(quotes, work string) (map[string][]byte, error) {
	quote, err := os.ReadFile(filepath.Join(quotes, "phala-sgx", "sgx_quote"))
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(quotes, "phala-sgx", "sgx_quote_collateral.json"))
	if err != nil {
		return nil, err
	}
	c, err := dcap.ParseCollateral(text)
	if err != nil {
		return nil, err
	}
	whole, err := dcap.Evidence(quote, c)
	if err != nil {
		return nil, err
	}
	wholeJSON, err := json.Marshal(whole)
	if err != nil {
		return nil, err
	}
	simulated, err := simulatedJSON(filepath.Join(work, ".cpu"))
	if err != nil {
		return nil, err
	}
	header := binary.LittleEndian.AppendUint32([]byte{1, 0, 0, 0}, 2)
	return map[string][]byte{
		"whole": whole.Data, "whole.json": wholeJSON, "simulated.json": simulated,
		"openenclave": append(binary.LittleEndian.AppendUint64(header, uint64(len(quote))), quote...),
		"more":        append(quote[:len(quote):len(quote)], 0),
		"key.pem":     pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte("key")}),
		"large":       make([]byte, maxFileBytes+1),
		"other.json":  []byte(`{"format":"other","data":""}`),
		"more.json":   []byte(`{"format":"sim","data":"","more":1}`),
	}, nil
}

// simulatedJSON is evidence of a simulated enclave.
func simulatedJSON(dir string) ([]byte, error) {
	p, err := platform.Open(platform.Sim, platform.Options{CPU: dir})
	if err != nil {
		return nil, err
	}
	e, err := p.Quote(attest.ReportData{1})
	if err != nil {
		return nil, err
	}
	return json.Marshal(e)
}
