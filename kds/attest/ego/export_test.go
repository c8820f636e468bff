package ego

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/edgelesssys/ego/attestation/tcbstatus"

	"github.com/coffer-fs/coffer/kds/attest"
)

// FakeHardware is an enclave's hardware in the hands of a test.
type FakeHardware struct {
	CodeHash, Signer, Product []byte
	SVN                       uint
	Debug                     bool
	Seal                      []byte // the seal key; nil asks the real EGo
	TCB                       tcbstatus.Status
	NotUpToDate               bool // EGo's error beside the status
	VerifyErr, SelfErr        error
	Quoted                    []byte // what evidence holds
	Data                      []byte // report data of what is verified
}

var ErrFake = errors.New("fake hardware")

func (f *FakeHardware) report() report {
	return report{data: f.Data, securityVersion: f.SVN, debug: f.Debug, codeHash: f.CodeHash, signer: f.Signer, products: f.Product}
}

func (f *FakeHardware) selfReport() (report, error) { return f.report(), f.SelfErr }

func (f *FakeHardware) remoteReport([]byte) ([]byte, error) { return f.Quoted, nil }

func (f *FakeHardware) verify([]byte) (report, error) {
	err := f.VerifyErr
	if f.NotUpToDate {
		err = errTCBLevel
	}
	status, err := statusOf(f.TCB, err)
	r := f.report()
	r.status = status
	return r, err
}

func (f *FakeHardware) freshSealKey(p attest.SealPolicy) (k, info []byte, err error) {
	if f.Seal == nil {
		return native().freshSealKey(p)
	}
	if len(f.Seal) != 16 || f.Seal[0] == 0 {
		return append([]byte(nil), f.Seal...), KeyInfo(p), nil
	}
	k, err = f.sealKey(KeyInfo(p))
	return k, KeyInfo(p), err
}

func (f *FakeHardware) sealKey(info []byte) ([]byte, error) {
	if f.Seal == nil {
		return native().sealKey(info)
	}
	k := append([]byte(nil), f.Seal...)
	for i, b := range info {
		k[i%len(k)] ^= b
	}
	return k, nil
}

// KeyInfo is a fresh key request.
func KeyInfo(p attest.SealPolicy) []byte {
	b := make([]byte, keyInfoSize)
	binary.LittleEndian.PutUint16(b, 4)
	binary.LittleEndian.PutUint16(b[2:], map[attest.SealPolicy]uint16{attest.SealToCode: 1, attest.SealToSigner: 2}[p])
	b[24] = 0xff
	return b
}

// OpenWith is Open with other hardware.
func OpenWith(f *FakeHardware) (*Platform, error) {
	return open(f, func() time.Time { return time.Unix(1_760_000_000, 0) })
}

// NativeSealKey is EGo's seal key as EGo gives it, and whether EGo is built in.
func NativeSealKey(p attest.SealPolicy) (k []byte, err error, built bool) {
	k, _, err = native().freshSealKey(p)
	_, isNone := any(native()).(interface{ stub() })
	return k, err, !isNone
}

// StatusOf is statusOf with EGo's error or another.
func StatusOf(s tcbstatus.Status, notUpToDate bool, err error) (Status, error) {
	if notUpToDate {
		err = errTCBLevel
	}
	return statusOf(s, err)
}
