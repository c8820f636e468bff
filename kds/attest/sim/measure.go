package sim

import (
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/internal/strictjson"
	"github.com/coffer-fs/coffer/key"
)

const measureLabel = "coffer/sim/v1/code"

// MaxEnclaveFileBytes is the largest enclave file that is read.
const MaxEnclaveFileBytes = 4096

// DefaultSigner is the signer of an enclave file that names none: zeros.
var DefaultSigner = attest.Hash(strings.Repeat("0", 64))

// Measure is the code hash of an executable with a configuration: a change of
// either is another enclave.
func Measure(executable io.Reader, config []byte) (attest.Hash, error) {
	exe := sha256.New()
	if _, err := io.Copy(exe, executable); err != nil {
		return "", fmt.Errorf("measure executable: %w", err)
	}
	cfg := sha256.Sum256(config)
	sum := sha256.Sum256(key.Info(measureLabel, exe.Sum(nil), cfg[:]))
	return attest.HashFromBytes(sum[:])
}

// MeasureSelf is the code hash of the running program with a configuration.
func MeasureSelf(config []byte) (attest.Hash, error) {
	path, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("measure executable: %w", err)
	}
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("measure executable: %w", err)
	}
	defer f.Close()
	return Measure(f, config)
}

// File is an enclave file: what a build would sign. All fields may be left out.
//
//	{"signer": "B4CD...", "productID": 1, "revocationLevel": 0}
type File struct {
	// CodeHash takes the place of the measured one.
	CodeHash string `json:"codeHash"`
	// Signer is the code signer's hash. Default 64 zeros.
	Signer string `json:"signer"`
	// ProductID is the product. Default 1.
	ProductID *uint16 `json:"productID"`
	// RevocationLevel is the revocation level. Default 0.
	RevocationLevel int32 `json:"revocationLevel"`
}

// ReadFile reads the enclave file in path.
func ReadFile(path string) (File, error) {
	f, err := os.Open(path)
	if err != nil {
		return File{}, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, MaxEnclaveFileBytes+1))
	if err != nil {
		return File{}, err
	}
	if len(b) > MaxEnclaveFileBytes {
		return File{}, fmt.Errorf("enclave file %q: larger than %d bytes", path, MaxEnclaveFileBytes)
	}
	var file File
	if err := strictjson.Unmarshal(b, &file); err != nil {
		return File{}, fmt.Errorf("enclave file %q: %w", path, err)
	}
	return file, nil
}

// Build is the enclave that f describes, with measured as its code hash unless
// f names another.
func (f File) Build(measured attest.Hash) (Build, error) {
	b := Build{CodeHash: measured, SignerHash: DefaultSigner, ProductID: 1, RevocationLevel: f.RevocationLevel}
	var err error
	if f.CodeHash != "" {
		if b.CodeHash, err = attest.ParseHash(f.CodeHash); err != nil {
			return Build{}, fmt.Errorf("enclave file: codeHash: %w", err)
		}
	}
	if f.Signer != "" {
		if b.SignerHash, err = attest.ParseHash(f.Signer); err != nil {
			return Build{}, fmt.Errorf("enclave file: signer: %w", err)
		}
	}
	if f.ProductID != nil {
		b.ProductID = *f.ProductID
	}
	if f.RevocationLevel < 0 {
		return Build{}, fmt.Errorf("enclave file: revocationLevel %d is negative", f.RevocationLevel)
	}
	return b, nil
}
