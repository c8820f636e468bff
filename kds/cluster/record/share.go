package record

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hpke"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/cloudflare/circl/group"
	"github.com/cloudflare/circl/secretsharing"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/internal/lists"
	"github.com/coffer-fs/coffer/kds/nodeconfig"
	"github.com/coffer-fs/coffer/key"
)

// What is shared is not the master key but a random scalar of ristretto255,
// from which the key comes that the master key is sealed under, once. Feldman's
// commitments let everybody tell a wrong share; they say nothing of a random
// scalar that anybody could use.

const (
	scalarSize  = 32
	elementSize = 32
	escrowSize  = key.Size + 16
	sealedShare = 1120 + scalarSize + 16
)

func curve() group.Group { return group.Ristretto255 }

// shareOut shares a master key out to the custodians of c.
func (g *Generation) shareOut(c *nodeconfig.Cluster, mk key.Key) (Sharing, error) {
	if len(c.Custodians) == 0 {
		return Sharing{}, nil
	}
	secret := curve().RandomNonZeroScalar(rand.Reader)
	escrow, err := g.escrow(secret)
	if err != nil {
		return Sharing{}, err
	}
	s := Sharing{Threshold: c.Threshold, Escrow: escrow.Seal(nil, make([]byte, escrow.NonceSize()), mk.Bytes(), nil)}
	split := secretsharing.New(rand.Reader, uint(c.Threshold-1), secret)
	for _, e := range split.CommitSecret() {
		b, err := e.MarshalBinaryCompress()
		if err != nil {
			return Sharing{}, err
		}
		s.Commitments = append(s.Commitments, b)
	}
	for i, share := range split.Share(uint(len(c.Custodians))) {
		who := c.Custodians[i]
		value, err := share.Value.MarshalBinary()
		if err != nil {
			return Sharing{}, err
		}
		sealed, err := seal(who.Key, g.info(shareLabel, who.Name), value)
		clear(value)
		if err != nil {
			return Sharing{}, fmt.Errorf("seal the share of %q: %w", who.Name, err)
		}
		s.Shares = append(s.Shares, Share{who.Name, who.Key, sealed})
	}
	return s, nil
}

// escrow seals one master key, once: hence the nonce of zeros.
func (g *Generation) escrow(secret group.Scalar) (cipher.AEAD, error) {
	b, err := secret.MarshalBinary()
	if err != nil {
		return nil, err
	}
	defer clear(b)
	k, err := key.FromBytes(b)
	if err != nil {
		return nil, err
	}
	defer k.Destroy()
	w := k.Derive(nil, escrowLabel, g.ID[:], u32(uint32(g.Number)))
	defer w.Destroy()
	block, err := aes.NewCipher(w.Bytes())
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// info binds what is sealed to its generation and custodian.
func (g *Generation) info(label, custodian string) []byte {
	return key.Info(label, []byte(g.Cluster), g.ID[:], u32(uint32(g.Number)), []byte(custodian))
}

func seal(public, info, b []byte) ([]byte, error) {
	pk, err := kds.ParsePublicKey(public)
	if err != nil {
		return nil, err
	}
	return hpke.Seal(pk, hpke.HKDFSHA256(), hpke.AES256GCM(), info, b)
}

func open(sk hpke.PrivateKey, info, sealed []byte) ([]byte, error) {
	return hpke.Open(sk, hpke.HKDFSHA256(), hpke.AES256GCM(), info, sealed)
}

func parseSharing(threshold, commitments, escrow, shares []byte) (Sharing, error) {
	t, err := lists.U32(threshold)
	if err != nil {
		return Sharing{}, err
	}
	p, err := lists.All(shares, sharesLabel, 3*nodeconfig.MaxCustodians)
	if err != nil {
		return Sharing{}, err
	}
	n := len(p) / 3
	switch {
	case len(p)%3 != 0 || int64(t) > int64(n) || (t == 0) != (n == 0):
		return Sharing{}, fmt.Errorf("a threshold of %d with %d shares", t, n)
	case len(commitments) != int(t)*elementSize || n > 0 && len(escrow) != escrowSize || n == 0 && len(escrow) != 0:
		return Sharing{}, errors.New("a part of the sharing has another size")
	}
	s := Sharing{Threshold: int(t), Escrow: escrow}
	for i := range int(t) {
		s.Commitments = append(s.Commitments, commitments[i*elementSize:(i+1)*elementSize])
	}
	seen := map[string]bool{}
	for i := range n {
		one := Share{string(p[3*i]), p[3*i+1], p[3*i+2]}
		if len(one.Key) != kds.PublicKeySize || len(one.Sealed) != sealedShare || seen[one.Custodian] {
			return Sharing{}, fmt.Errorf("share %d is not one", i+1)
		}
		seen[one.Custodian] = true
		s.Shares = append(s.Shares, one)
	}
	return s, nil
}

// share finds the share of a custodian, and its number from 1.
func (g *Generation) share(custodian string) (Share, uint64, error) {
	for i, s := range g.Sharing.Shares {
		if s.Custodian == custodian {
			return s, uint64(i) + 1, nil
		}
	}
	return Share{}, 0, fmt.Errorf("%w: generation %d has no share for %q", ErrNotCustodian, g.Number, clip(custodian))
}

// CustodianOf is the name under which a key has a share.
func (g *Generation) CustodianOf(sk hpke.PrivateKey) (string, error) {
	public := string(sk.PublicKey().Bytes())
	for _, s := range g.Sharing.Shares {
		if string(s.Key) == public {
			return s.Custodian, nil
		}
	}
	return "", fmt.Errorf("%w: generation %d has no share for this key", ErrNotCustodian, g.Number)
}

// Hand opens the share of a custodian, checks it, and seals it to a node.
// Whether the node may have it is the caller's to check first.
func (g *Generation) Hand(sk hpke.PrivateKey, to []byte) (custodian string, sealed []byte, err error) {
	custodian, err = g.CustodianOf(sk)
	if err != nil {
		return "", nil, err
	}
	s, _, err := g.share(custodian)
	if err != nil {
		return "", nil, err
	}
	value, err := open(sk, g.info(shareLabel, custodian), s.Sealed)
	if err != nil {
		return "", nil, fmt.Errorf("%w: the share of %q does not open", ErrShare, custodian)
	}
	defer clear(value)
	if _, err := g.check(custodian, value); err != nil {
		return "", nil, err
	}
	sealed, err = seal(to, g.info(handedLabel, custodian), value)
	return custodian, sealed, err
}

// check verifies the value of a share against the commitments.
func (g *Generation) check(custodian string, value []byte) (secretsharing.Share, error) {
	_, number, err := g.share(custodian)
	if err != nil {
		return secretsharing.Share{}, err
	}
	wrong := fmt.Errorf("%w: that of %q does not match generation %d", ErrShare, custodian, g.Number)
	if len(value) != scalarSize {
		return secretsharing.Share{}, wrong
	}
	share := secretsharing.Share{ID: curve().NewScalar().SetUint64(number), Value: curve().NewScalar()}
	if err := share.Value.UnmarshalBinary(value); err != nil {
		return secretsharing.Share{}, wrong
	}
	var commitments secretsharing.SecretCommitment
	for _, b := range g.Sharing.Commitments {
		e := curve().NewElement()
		if err := e.UnmarshalBinary(b); err != nil {
			return secretsharing.Share{}, fmt.Errorf("%w: a commitment of generation %d is none", ErrRecord, g.Number)
		}
		commitments = append(commitments, e)
	}
	if !secretsharing.Verify(uint(g.Sharing.Threshold-1), share, commitments) {
		return secretsharing.Share{}, wrong
	}
	return share, nil
}

// Gathering is shares of one generation that have come together.
type Gathering struct {
	g      *Generation
	shares map[string]secretsharing.Share
}

// Gather begins with no share.
func (g *Generation) Gather() *Gathering {
	return &Gathering{g, map[string]secretsharing.Share{}}
}

// Add takes a share that Hand sealed to sk. ErrShare names the custodian.
func (s *Gathering) Add(custodian string, sk hpke.PrivateKey, sealed []byte) error {
	if len(sealed) != sealedShare {
		return fmt.Errorf("%w: that of %q has %d bytes", ErrShare, clip(custodian), len(sealed))
	}
	value, err := open(sk, s.g.info(handedLabel, custodian), sealed)
	if err != nil {
		return fmt.Errorf("%w: that of %q is not sealed to this node", ErrShare, clip(custodian))
	}
	defer clear(value)
	share, err := s.g.check(custodian, value)
	if err != nil {
		return err
	}
	s.shares[custodian] = share
	return nil
}

// Have is how many good shares there are.
func (s *Gathering) Have() int { return len(s.shares) }

// Need is how many there must be; 0 if there are no custodians.
func (s *Gathering) Need() int { return s.g.Sharing.Threshold }

// Key is the master key, when there are enough shares.
func (s *Gathering) Key() (key.Key, error) {
	if s.Need() == 0 || s.Have() < s.Need() {
		return key.Key{}, fmt.Errorf("%w: %d shares of generation %d, of %d that it takes", ErrShare, s.Have(), s.g.Number, s.Need())
	}
	var all []secretsharing.Share
	for _, one := range s.shares {
		all = append(all, one)
	}
	secret, err := secretsharing.Recover(uint(s.Need()-1), all)
	if err != nil {
		return key.Key{}, err
	}
	escrow, err := s.g.escrow(secret)
	if err != nil {
		return key.Key{}, err
	}
	b, err := escrow.Open(nil, make([]byte, escrow.NonceSize()), s.g.Sharing.Escrow, nil)
	if err != nil {
		return key.Key{}, fmt.Errorf("%w: the escrow of generation %d does not open", ErrRecord, s.g.Number)
	}
	defer clear(b)
	mk, err := key.FromBytes(b)
	if err == nil && !s.g.Holds(mk) {
		return key.Key{}, fmt.Errorf("%w: the escrow of generation %d holds another master key", ErrRecord, s.g.Number)
	}
	return mk, err
}
