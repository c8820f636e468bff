// Package record is what a cluster of KDS nodes writes down of its master keys,
// for anybody to read: one record a generation, and one for its end.
//
// A generation's record holds the public commitment of its master key, and the
// master key itself, shared out to the custodians and sealed to each of them. It
// is signed by the master key it is about, by the one before it, and by an
// operator whom the measured configuration names; so whoever keeps the records
// cannot make one, or have a node take a master key that the operator never saw
// the commitment of.
//
// It promises that a record that parses is whole and signed, and that a share
// is one of the master key that the record is about, or is named as wrong. It
// knows nothing of nodes, networks or stores.
//
// Imported by kds/cluster and cmd/coffer-kds. Imports kds and kds/nodeconfig.
package record

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/internal/lists"
	"github.com/coffer-fs/coffer/kds/nodeconfig"
	"github.com/coffer-fs/coffer/key"
)

// Limits of records.
const (
	// MaxBytes is the largest record.
	MaxBytes = 64 << 10
	// MaxGenerations is how many generations a cluster may ever have.
	MaxGenerations = 256
)

var (
	// ErrRecord: a record is malformed, or not signed by who must.
	ErrRecord = errors.New("cluster record is not valid")
	// ErrShare: a share is not one of the master key.
	ErrShare = errors.New("wrong share")
	// ErrNotCustodian: the key is not that of a custodian.
	ErrNotCustodian = errors.New("not a custodian")
)

// The labels of this package.
const (
	bodyLabel         = "coffer/cluster/v1/generation"
	signedLabel       = "coffer/cluster/v1/signed generation"
	ownLabel          = "coffer/cluster/v1/signed by the master key"
	previousLabel     = "coffer/cluster/v1/signed by the master key before"
	operatorLabel     = "coffer/cluster/v1/signed by the operator"
	commitmentLabel   = "coffer/cluster/v1/commitment"
	sharesLabel       = "coffer/cluster/v1/shares"
	retirementLabel   = "coffer/cluster/v1/retirement"
	escrowLabel       = "coffer/cluster/v1/escrow"
	shareLabel        = "coffer/cluster/v1/share"
	handedLabel       = "coffer/cluster/v1/share to a node"
	retirementOpLabel = "coffer/cluster/v1/retired by the operator"
)

// ID names a cluster: random bytes that are made at its birth.
type ID [16]byte

// Hash stands for a record.
type Hash [sha256.Size]byte

// Generation is what is public of one generation of the master key.
type Generation struct {
	Cluster    string
	ID         ID
	Type       kds.MasterKeyType
	Number     kds.Generation
	Previous   Hash // of the generation before; zeros for the first
	Commitment ed25519.PublicKey
	Sharing    Sharing

	body []byte
	sigs signatures
}

// Sharing is the master key as the custodians have it. The zero value: nobody.
type Sharing struct {
	Threshold   int
	Commitments [][]byte // Feldman's, one for each coefficient
	Escrow      []byte   // the master key, sealed under the shared secret
	Shares      []Share
}

// Share is one custodian's, sealed to him.
type Share struct {
	Custodian string
	Key       []byte // his public key
	Sealed    []byte
}

// signatures are beside the body.
type signatures struct {
	own, previous, operator []byte
	operatorKey             ed25519.PublicKey
}

// Hash stands for the record's body.
func (g *Generation) Hash() Hash { return sha256.Sum256(g.body) }

// signing is the key that a master key signs its records with; its public half
// is the commitment.
func signing(mk key.Key, id ID, n kds.Generation) ed25519.PrivateKey {
	seed := mk.Derive(nil, commitmentLabel, id[:], u32(uint32(n)))
	defer seed.Destroy()
	return ed25519.NewKeyFromSeed(seed.Bytes())
}

// Commitment is what is public of a master key: whoever has it can tell the
// master key from every other.
func Commitment(mk key.Key, id ID, n kds.Generation) ed25519.PublicKey {
	return signing(mk, id, n).Public().(ed25519.PublicKey)
}

// Holds reports whether mk is the master key that g is about.
func (g *Generation) Holds(mk key.Key) bool {
	return !mk.IsZero() && Commitment(mk, g.ID, g.Number).Equal(g.Commitment)
}

// Next is what comes before a new generation: nil for the first.
type Next struct {
	Generation *Generation
	Key        key.Key
}

// New makes the record of a new master key: the first generation of a cluster
// with an ID, or the next after before. It lacks the operator's signature.
func New(c *nodeconfig.Cluster, t kds.MasterKeyType, id ID, mk key.Key, before *Next) (*Generation, error) {
	g := &Generation{Cluster: c.Name, ID: id, Type: t, Number: 1}
	if before != nil {
		g.ID, g.Number, g.Previous = before.Generation.ID, before.Generation.Number+1, before.Generation.Hash()
	}
	g.Commitment = Commitment(mk, g.ID, g.Number)
	var err error
	if g.Sharing, err = g.shareOut(c, mk); err != nil {
		return nil, err
	}
	g.body = g.encodeBody()
	g.sigs.own = ed25519.Sign(signing(mk, g.ID, g.Number), key.Info(ownLabel, g.body))
	if before != nil {
		g.sigs.previous = ed25519.Sign(signing(before.Key, g.ID, before.Generation.Number), key.Info(previousLabel, g.body))
	}
	return g, nil
}

// OperatorBytes is what an operator signs to have a generation.
func (h Hash) OperatorBytes() []byte { return key.Info(operatorLabel, h[:]) }

// Confirm adds an operator's signature.
func (g *Generation) Confirm(operator ed25519.PublicKey, signature []byte) {
	g.sigs.operatorKey, g.sigs.operator = operator, bytes.Clone(signature)
}

// Body is the record without its signatures.
func (g *Generation) Body() []byte { return bytes.Clone(g.body) }

func (g *Generation) encodeBody() []byte {
	s := g.Sharing
	shares := key.Info(sharesLabel)
	for _, one := range s.Shares {
		shares = append(shares, parts([]byte(one.Custodian), one.Key, one.Sealed)...)
	}
	return key.Info(bodyLabel, []byte(g.Cluster), g.ID[:], []byte(g.Type), u32(uint32(g.Number)), g.Previous[:], g.Commitment,
		u32(uint32(s.Threshold)), bytes.Join(s.Commitments, nil), s.Escrow, shares)
}

// Encode is the record with its signatures.
func (g *Generation) Encode() []byte {
	s := g.sigs
	return key.Info(signedLabel, g.body, s.own, s.previous, s.operatorKey, s.operator)
}

// ParseBody reads a record that nobody has signed yet: what an operator is
// asked to sign. It must not be believed.
func ParseBody(b []byte) (*Generation, error) {
	g, err := parseBody(b)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRecord, err)
	}
	return g, nil
}

func parseBody(b []byte) (*Generation, error) {
	if len(b) > MaxBytes {
		return nil, fmt.Errorf("larger than %d bytes", MaxBytes)
	}
	p, err := lists.Parse(b, bodyLabel, 10)
	if err != nil {
		return nil, err
	}
	n, err := lists.U32(p[3])
	if err != nil {
		return nil, err
	}
	g := &Generation{Cluster: string(p[0]), Type: kds.MasterKeyType(p[2]), Number: kds.Generation(n), Commitment: p[5], body: bytes.Clone(b)}
	switch {
	case len(p[1]) != len(ID{}) || len(p[4]) != len(Hash{}) || len(p[5]) != ed25519.PublicKeySize:
		return nil, errors.New("a part has another size")
	case n == 0 || n > MaxGenerations:
		return nil, fmt.Errorf("generation %d", n)
	}
	g.ID, g.Previous = ID(p[1]), Hash(p[4])
	g.Sharing, err = parseSharing(p[6], p[7], p[8], p[9])
	return g, err
}

// Parse reads the record of a generation and checks all of its signatures but
// the one of the generation before, which After checks. Operators are those of
// the measured configuration.
func Parse(b []byte, c *nodeconfig.Config) (*Generation, error) {
	g, err := parse(b, c)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRecord, err)
	}
	return g, nil
}

func parse(b []byte, c *nodeconfig.Config) (*Generation, error) {
	if len(b) > MaxBytes {
		return nil, fmt.Errorf("larger than %d bytes", MaxBytes)
	}
	p, err := lists.Parse(b, signedLabel, 5)
	if err != nil {
		return nil, err
	}
	g, err := parseBody(p[0])
	if err != nil {
		return nil, err
	}
	g.sigs = signatures{p[1], p[2], p[4], p[3]}
	h := g.Hash()
	switch {
	case c.Cluster == nil || g.Cluster != c.Cluster.Name:
		return nil, fmt.Errorf("of the cluster %q", clip(g.Cluster))
	case !ed25519.Verify(g.Commitment, key.Info(ownLabel, g.body), g.sigs.own):
		return nil, errors.New("not signed by its master key")
	case len(g.sigs.operatorKey) != ed25519.PublicKeySize || !c.Operator(g.sigs.operatorKey):
		return nil, errors.New("not signed by an operator of the measured configuration")
	case !ed25519.Verify(g.sigs.operatorKey, h.OperatorBytes(), g.sigs.operator):
		return nil, errors.New("the operator's signature does not match")
	}
	return g, nil
}

// After checks that g comes right after before, nil for none.
func (g *Generation) After(before *Generation) error {
	var err error
	switch {
	case before == nil && (g.Number != 1 || g.Previous != Hash{} || len(g.sigs.previous) != 0):
		err = fmt.Errorf("generation %d is not the first", g.Number)
	case before == nil:
	case g.Number != before.Number+1 || g.ID != before.ID || g.Type != before.Type:
		err = fmt.Errorf("generation %d does not follow generation %d", g.Number, before.Number)
	case g.Previous != before.Hash():
		err = fmt.Errorf("generation %d follows another generation %d", g.Number, before.Number)
	case !ed25519.Verify(before.Commitment, key.Info(previousLabel, g.body), g.sigs.previous):
		err = fmt.Errorf("generation %d is not signed by generation %d", g.Number, before.Number)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrRecord, err)
	}
	return nil
}

func clip(s string) string { return s[:min(len(s), 64)] }

func u32(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }

// parts are the end of a list.
func parts(all ...[]byte) []byte {
	var b []byte
	for _, p := range all {
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(p))), p...)
	}
	return b
}
