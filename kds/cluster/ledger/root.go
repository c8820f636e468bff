package ledger

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/internal/lists"
	"github.com/coffer-fs/coffer/key"
)

const (
	rootLabel    = "coffer/cluster/v1/ledger root"
	membersLabel = "coffer/cluster/v1/ledger members"
	bucketLabel  = "coffer/cluster/v1/ledger bucket"
	macLabel     = "coffer/cluster/v1/ledger"
)

// Head is which root: its number and its hash. The zero Head: there is none yet.
type Head struct {
	Number uint64
	Hash   [sha256.Size]byte
}

// Root is the top of the map: whoever has it can tell every value in the store
// from an older one.
type Root struct {
	Generation kds.Generation // whose key authenticates it
	Number     uint64         // one more with each change
	Previous   [sha256.Size]byte
	// Members are the addresses of the nodes that remember which root is the
	// newest, in order. A change counts when most of them know of it.
	Members []string
	// Forgotten is the number of the last order to forget a member.
	Forgotten uint64
	buckets   map[byte][sha256.Size]byte
}

// encode is the root with its MAC.
func (r *Root) encode(mk key.Key) []byte {
	b := r.body()
	m := mac(mk, r.Generation, b)
	return append(binary.BigEndian.AppendUint32(b, uint32(len(m))), m...)
}

func (r *Root) body() []byte {
	members := make([][]byte, 0, len(r.Members))
	for _, m := range r.Members {
		members = append(members, []byte(m))
	}
	var buckets []byte
	for i := range 256 {
		if h, ok := r.buckets[byte(i)]; ok {
			buckets = append(append(buckets, byte(i)), h[:]...)
		}
	}
	return key.Info(rootLabel, binary.BigEndian.AppendUint32(nil, uint32(r.Generation)), u64(r.Number), r.Previous[:],
		key.Info(membersLabel, members...), u64(r.Forgotten), buckets)
}

// Head is the root's.
func (r *Root) Head() Head { return Head{r.Number, sha256.Sum256(r.body())} }

func mac(mk key.Key, g kds.Generation, b []byte) []byte {
	k := mk.Derive(nil, macLabel, binary.BigEndian.AppendUint32(nil, uint32(g)))
	defer k.Destroy()
	m := hmac.New(sha256.New, k.Bytes())
	m.Write(b)
	return m.Sum(nil)
}

// parseRoot reads a root. Its MAC is not checked yet.
func parseRoot(b []byte) (r *Root, body, tag []byte, err error) {
	p, err := lists.Parse(b, rootLabel, 7)
	if err != nil {
		return nil, nil, nil, err
	}
	g, e1 := lists.U32(p[0])
	n, e2 := lists.U64(p[1])
	members, e3 := lists.All(p[3], membersLabel, MaxMembers)
	forgotten, e4 := lists.U64(p[4])
	for _, err := range []error{e1, e2, e3, e4} {
		if err != nil {
			return nil, nil, nil, err
		}
	}
	const entry = 1 + sha256.Size
	if len(p[2]) != sha256.Size || len(p[6]) != sha256.Size || len(p[5])%entry != 0 || n == 0 {
		return nil, nil, nil, fmt.Errorf("%w: a part has another size", lists.ErrMalformed)
	}
	r = &Root{Generation: kds.Generation(g), Number: n, Previous: [sha256.Size]byte(p[2]), Forgotten: forgotten, buckets: map[byte][sha256.Size]byte{}}
	for _, m := range members {
		r.Members = append(r.Members, string(m))
	}
	for e := range slices.Chunk(p[5], entry) {
		r.buckets[e[0]] = [sha256.Size]byte(e[1:])
	}
	body = b[:len(b)-4-sha256.Size]
	if !bytes.Equal(r.body(), body) {
		return nil, nil, nil, fmt.Errorf("%w: a root has one form", lists.ErrMalformed)
	}
	return r, body, p[6], nil
}

// clone is a copy that may be changed.
func (r *Root) clone() *Root {
	c := *r
	c.Members = slices.Clone(r.Members)
	c.buckets = map[byte][sha256.Size]byte{}
	for i, h := range r.buckets {
		c.buckets[i] = h
	}
	return &c
}

// bucket is the values whose names hash to one byte.
type bucket map[string][]byte

func index(name string) byte { return hash(name)[0] }

func hash(name string) []byte { h := sha256.Sum256([]byte(name)); return h[:] }

func (b bucket) encode() []byte {
	names := make([]string, 0, len(b))
	for n := range b {
		names = append(names, n)
	}
	slices.Sort(names)
	var parts [][]byte
	for _, n := range names {
		parts = append(parts, []byte(n), b[n])
	}
	return key.Info(bucketLabel, parts...)
}

func parseBucket(b []byte) (bucket, error) {
	p, err := lists.All(b, bucketLabel, 2*MaxInBucket)
	if err != nil {
		return nil, err
	}
	if len(p)%2 != 0 {
		return nil, fmt.Errorf("%w: a name without a value", lists.ErrMalformed)
	}
	m := bucket{}
	for i := 0; i < len(p); i += 2 {
		m[string(p[i])] = p[i+1]
	}
	return m, nil
}

func u64(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }
