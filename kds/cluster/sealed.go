package cluster

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/cluster/peer"
	"github.com/coffer-fs/coffer/kds/cluster/record"
	"github.com/coffer-fs/coffer/kds/internal/lists"
	"github.com/coffer-fs/coffer/kds/internal/secretfile"
	"github.com/coffer-fs/coffer/key"
)

const (
	// SealedFile is where a node keeps its master keys, sealed.
	SealedFile = "cluster.sealed"

	maxSealedBytes = 32 << 20

	sealedLabel = "coffer/cluster/v1/sealed"
	restLabel   = "coffer/cluster/v1/rest"
	recordLabel = "coffer/cluster/v1/records"
	keysLabel   = "coffer/cluster/v1/keys"
)

// content is what is in the sealed file.
type content struct {
	current     kds.Generation
	confirmed   int // records beyond that many are tentative
	generations [][]byte
	retirements [][]byte
	keys        peer.Keys
}

// sealPolicy says who opens the file: the same code, or, if other builds may be
// nodes, every build of the signer and product that the platform gives the key.
func (n *Node) sealPolicy() attest.SealPolicy {
	if n.o.Config.Cluster.Peers.SameSigner {
		return attest.SealToSigner
	}
	return attest.SealToCode
}

// seal writes what the node holds. Nothing else of the node is under a key that is
// no longer in it. n.changing is held.
func (n *Node) seal() error {
	if err := n.witness.follow(); err != nil {
		return err
	}
	n.mu.RLock()
	c := content{current: n.current, confirmed: len(n.state.Generations), keys: peer.Keys{}}
	c.generations, c.retirements = n.state.Encode()
	for g, k := range n.keys {
		c.keys[g] = k
	}
	if t := n.tentative; t != nil {
		c.generations, c.keys[t.g.Number] = append(c.generations, t.g.Encode()), t.mk
	}
	n.mu.RUnlock()
	plain := c.encode()
	defer clear(plain)
	k, info, err := n.o.Platform.SealKey(n.sealPolicy(), nil)
	if err != nil {
		return fmt.Errorf("seal master keys: %w", err)
	}
	defer k.Destroy()
	nonce := make([]byte, 12)
	rand.Read(nonce)
	head := n.sealedHead(info, nonce)
	aead, err := restCipher(k)
	if err != nil {
		return err
	}
	sealed := aead.Seal(nil, nonce, plain, head)
	b := append(head, binary.BigEndian.AppendUint32(nil, uint32(len(sealed)))...)
	if err := n.readable(append(b, sealed...)); err != nil {
		return fmt.Errorf("seal master keys: read back: %w", err)
	}
	if err := secretfile.Replace(filepath.Join(n.o.Dir, SealedFile), append(b, sealed...)); err != nil {
		return fmt.Errorf("seal master keys: %w", err)
	}
	return nil
}

// sealedHead is the public part of the file: a list whose last part follows.
func (n *Node) sealedHead(info, nonce []byte) []byte {
	return key.Info(sealedLabel, []byte(n.o.Config.Cluster.Name), []byte{byte(n.sealPolicy())}, info, nonce)
}

func restCipher(k key.Key) (cipher.AEAD, error) {
	d := k.Derive(nil, restLabel)
	defer d.Destroy()
	block, err := aes.NewCipher(d.Bytes())
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// readable opens what was sealed: keys that cannot be opened again are lost.
func (n *Node) readable(b []byte) error {
	c, err := n.open(b)
	if err == nil {
		c.keys.Destroy()
	}
	return err
}

// open opens the content of a sealed file.
func (n *Node) open(b []byte) (content, error) {
	p, err := lists.Parse(b, sealedLabel, 5)
	if err != nil {
		return content{}, err
	}
	name, info, nonce, sealed := string(p[0]), p[2], p[3], p[4]
	switch {
	case name != n.o.Config.Cluster.Name:
		return content{}, fmt.Errorf("they are of the cluster %.64q", name)
	case len(info) > attest.MaxKeyInfoSize || len(info) == 0 || len(nonce) != 12 || !bytes.Equal(p[1], []byte{byte(n.sealPolicy())}):
		return content{}, errors.New("a part is not as this node would write it")
	}
	k, _, err := n.o.Platform.SealKey(n.sealPolicy(), info)
	if err != nil {
		return content{}, err
	}
	defer k.Destroy()
	aead, err := restCipher(k)
	if err != nil {
		return content{}, err
	}
	plain, err := aead.Open(nil, nonce, sealed, n.sealedHead(info, nonce))
	if err != nil {
		return content{}, errors.New("they were sealed by another enclave, on another machine, or are damaged")
	}
	defer clear(plain)
	return parseContent(plain)
}

func (c content) encode() []byte {
	keys := key.Info(keysLabel)
	for g, k := range c.keys {
		keys = binary.BigEndian.AppendUint32(keys, 4+key.Size)
		keys = binary.BigEndian.AppendUint32(keys, uint32(g))
		keys = append(keys, k.Bytes()...)
	}
	defer clear(keys)
	return key.Info(restLabel, u32(uint32(c.current)), u32(uint32(c.confirmed)),
		key.Info(recordLabel, c.generations...), key.Info(recordLabel, c.retirements...), keys)
}

func parseContent(b []byte) (c content, err error) {
	p, err := lists.Parse(b, restLabel, 5)
	if err != nil {
		return content{}, err
	}
	current, e1 := lists.U32(p[0])
	confirmed, e2 := lists.U32(p[1])
	generations, e3 := lists.All(p[2], recordLabel, record.MaxGenerations+1)
	retirements, e4 := lists.All(p[3], recordLabel, record.MaxGenerations)
	keys, e5 := lists.All(p[4], keysLabel, record.MaxGenerations+1)
	if err := errors.Join(e1, e2, e3, e4, e5); err != nil {
		return content{}, err
	}
	if int64(confirmed) > int64(len(generations)) {
		return content{}, errors.New("more records are confirmed than there are")
	}
	c = content{current: kds.Generation(current), confirmed: int(confirmed), generations: generations, retirements: retirements, keys: peer.Keys{}}
	for _, one := range keys {
		if len(one) != 4+key.Size {
			return content{}, errors.New("a master key has another size")
		}
		k, err := key.FromBytes(one[4:])
		if err != nil {
			return content{}, err
		}
		c.keys[kds.Generation(binary.BigEndian.Uint32(one))] = k
		clear(one)
	}
	return c, nil
}

// unseal reads what the node has sealed, if anything.
func (n *Node) unseal() error {
	path := filepath.Join(n.o.Dir, SealedFile)
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open sealed master keys: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxSealedBytes+1))
	if err == nil && len(b) > maxSealedBytes {
		err = fmt.Errorf("larger than %d bytes", maxSealedBytes)
	}
	var c content
	if err == nil {
		c, err = n.open(b)
	}
	if err == nil {
		err = n.adopt(c)
	}
	if err != nil {
		return fmt.Errorf("%w: %q: %w", ErrSealed, path, err)
	}
	return nil
}

// adopt takes what was sealed. Nobody else knows n yet.
func (n *Node) adopt(c content) error {
	state, err := record.Build(c.generations[:c.confirmed], c.retirements, n.o.Config)
	if err != nil {
		return err
	}
	if first := state.Get(1); first != nil && first.Type != n.typ {
		return fmt.Errorf("they are of type %s, this node's are of type %s", first.Type, n.typ)
	}
	n.state = state
	for _, g := range state.Generations {
		k, held := c.keys[g.Number]
		switch {
		case held && !g.Holds(k):
			return fmt.Errorf("generation %d is another master key than its commitment says", g.Number)
		case held && !state.Retired[g.Number]:
			n.keys[g.Number] = k
		}
	}
	if len(c.generations) > c.confirmed {
		g, err := record.Parse(c.generations[c.confirmed], n.o.Config)
		if err != nil {
			return err
		}
		if k, held := c.keys[g.Number]; held && g.Holds(k) {
			n.tentative = &proposal{g: g, mk: k}
		}
	}
	if _, held := n.keys[c.current]; held {
		n.current = c.current
	}
	return nil
}

func u32(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }
