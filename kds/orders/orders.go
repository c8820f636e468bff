// Package orders is what the operator of a KDS can tell running nodes: whom to
// give nothing any more, and how new the platforms' evaluation must be.
//
//	{"orders":{"number":3,"denyCode":["5124..."],"minEvaluationNumber":17},"operator":"...","signature":"..."}
//
// It promises that orders count only if one of the operators signed them, that
// their number only grows while a node runs and as far as its store remembers,
// and that a node whose orders cannot be read starts not at all. Orders take
// away and never give: no key leaves by them that would not leave without.
//
// Who can write the store can put older orders back before a node starts. The audit
// log has the number of every order that was given, so that it can be compared with
// what a node goes by.
//
// Lock order: the keeper's one mutex, held while the store is asked.
//
// Imported by kds/server and cmd/coffer-kds. Imports key, kds/attest,
// kds/internal.
package orders

import (
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/internal/strictjson"
	"github.com/coffer-fs/coffer/key"
)

// Limits of orders.
const (
	// MaxBytes is the longest signed text.
	MaxBytes = 64 << 10
	// MaxDenied is how many entries each list may have.
	MaxDenied = 256
)

const label = "coffer/kds/v1/orders"

var (
	// ErrMalformed: the text is not signed orders.
	ErrMalformed = errors.New("malformed orders")
	// ErrSignature: none of the operators signed them.
	ErrSignature = errors.New("orders are not signed by an operator")
	// ErrNumber: the number is not above that of the orders in force.
	ErrNumber = errors.New("orders are not newer than those in force")
	// ErrDenied: the operator ordered to give this nothing.
	ErrDenied = errors.New("denied by the operator")
)

// Orders replace all orders before them.
type Orders struct {
	// Number is that of the orders, from 1; later orders have larger ones.
	Number uint64 `json:"number"`
	// MinEvaluationNumber is the least evaluation data number of TCB info and
	// QE identity. Default 0, any.
	MinEvaluationNumber uint32 `json:"minEvaluationNumber,omitempty"`
	// DenyCode and DenySigner are hashes of enclaves that get nothing.
	DenyCode   []attest.Hash `json:"denyCode,omitempty"`
	DenySigner []attest.Hash `json:"denySigner,omitempty"`
	// DenySpec are hashes of specs whose keys nobody gets, in hexadecimal, as
	// the audit log has them.
	DenySpec []string `json:"denySpec,omitempty"`
}

// signedOrders is how orders are sent and stored. The signature covers the
// orders' bytes as they stand there.
type signedOrders struct {
	Orders    json.RawMessage `json:"orders"`
	Operator  []byte          `json:"operator"`
	Signature []byte          `json:"signature"`
}

// Sign checks orders and signs them as an operator.
func Sign(o Orders, k ed25519.PrivateKey) ([]byte, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	b, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	return json.Marshal(signedOrders{b, k.Public().(ed25519.PublicKey), ed25519.Sign(k, key.Info(label, b))})
}

// Parse reads orders that one of operators signed.
func Parse(b []byte, operators []ed25519.PublicKey) (Orders, error) {
	var s signedOrders
	if len(b) > MaxBytes {
		return Orders{}, fmt.Errorf("%w: %d bytes, at most %d", ErrMalformed, len(b), MaxBytes)
	}
	// What is around the orders is read loosely: the signature is over their bytes.
	if err := json.Unmarshal(b, &s); err != nil {
		return Orders{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	known := slices.ContainsFunc(operators, func(k ed25519.PublicKey) bool { return k.Equal(ed25519.PublicKey(s.Operator)) })
	if !known || !ed25519.Verify(s.Operator, key.Info(label, s.Orders), s.Signature) {
		return Orders{}, ErrSignature
	}
	return ParseUnsigned(s.Orders)
}

// ParseUnsigned reads orders that are to be signed.
func ParseUnsigned(b []byte) (o Orders, err error) {
	if len(b) > MaxBytes {
		return o, fmt.Errorf("%w: %d bytes, at most %d", ErrMalformed, len(b), MaxBytes)
	}
	if err := strictjson.Unmarshal(b, &o); err != nil {
		return Orders{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return o, o.check()
}

func (o *Orders) check() error {
	if o.Number == 0 {
		return fmt.Errorf("%w: numbers begin at 1", ErrMalformed)
	}
	if max(len(o.DenyCode), len(o.DenySigner), len(o.DenySpec)) > MaxDenied {
		return fmt.Errorf("%w: a list with more than %d entries", ErrMalformed, MaxDenied)
	}
	for _, list := range [][]attest.Hash{o.DenyCode, o.DenySigner} {
		for i, h := range list {
			parsed, err := attest.ParseHash(string(h))
			if err != nil {
				return fmt.Errorf("%w: %w", ErrMalformed, err)
			}
			list[i] = parsed
		}
	}
	for _, s := range o.DenySpec {
		if b, err := hex.DecodeString(s); err != nil || len(b) != 32 {
			return fmt.Errorf("%w: %q is not the hash of a spec", ErrMalformed, s[:min(len(s), 80)])
		}
	}
	return nil
}

// Allow refuses with ErrDenied what the orders deny.
func (o Orders) Allow(id attest.Identity, spec [32]byte) error {
	switch {
	case slices.Contains(o.DenyCode, id.CodeHash):
		return fmt.Errorf("%w: code hash %s", ErrDenied, id.CodeHash)
	case slices.Contains(o.DenySigner, id.SignerHash):
		return fmt.Errorf("%w: code signer %s", ErrDenied, id.SignerHash)
	case slices.ContainsFunc(o.DenySpec, func(s string) bool { b, _ := hex.DecodeString(s); return [32]byte(b) == spec }):
		return fmt.Errorf("%w: key %x", ErrDenied, spec)
	}
	return nil
}
