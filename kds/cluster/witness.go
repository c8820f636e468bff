package cluster

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/cluster/ledger"
	"github.com/coffer-fs/coffer/kds/internal/lists"
	"github.com/coffer-fs/coffer/kds/internal/strictjson"
	"github.com/coffer-fs/coffer/key"
)

const (
	seenPath       = "/seen"
	witnessTimeout = 2 * time.Second
	nonceSize      = 32

	askLabel    = "coffer/cluster/v1/have you seen"
	answerLabel = "coffer/cluster/v1/have seen"
)

// witness remembers the newest root that this node was shown, and asks others
// what they remember.
type witness struct {
	n *Node

	mu    sync.Mutex // guards what follows, and the file
	open  bool       // the file was read
	seen  ledger.Head
	under kds.Generation // whose key authenticates the file, 0 if there is none
	// damaged is that the file was, when the key went that it said to be under.
	damaged error
}

var _ ledger.Witness = (*witness)(nil)

// authentic is an HMAC under a key of the current master key, for one use.
func (n *Node) authentic(g kds.Generation, b []byte, label string) ([]byte, error) {
	mk, err := n.Key(context.Background(), g)
	if err != nil {
		return nil, err
	}
	k := mk.Derive(nil, label, u32(uint32(g)))
	defer k.Destroy()
	m := hmac.New(sha256.New, k.Bytes())
	m.Write(b)
	return m.Sum(nil), nil
}

// question asks another node whether a root is not old, and tells it of it.
type question struct {
	Generation kds.Generation `json:"generation"`
	Nonce      []byte         `json:"nonce"`
	Number     uint64         `json:"number"`
	Hash       []byte         `json:"hash"`
	MAC        []byte         `json:"mac"`
}

// reply is the answer: the root is not older than what was seen, or it is.
type reply struct {
	OK  bool   `json:"ok"`
	MAC []byte `json:"mac"`
}

func (q question) body(cluster string) []byte {
	return key.Info(askLabel, []byte(cluster), u32(uint32(q.Generation)), q.Nonce, u64(q.Number), q.Hash)
}

func (r reply) body(q []byte) []byte {
	ok := []byte{0}
	if r.OK {
		ok[0] = 1
	}
	return key.Info(answerLabel, q, ok)
}

// answerSeen answers another node: what is asked must be of one that has the
// master key.
func (w *witness) answerSeen(_ context.Context, b []byte) (any, error) {
	var q question
	if err := strictjson.Unmarshal(b, &q); err != nil {
		return nil, err
	}
	if len(q.Nonce) != nonceSize || len(q.Hash) != sha256.Size {
		return nil, lists.ErrMalformed
	}
	body := q.body(w.n.o.Config.Cluster.Name)
	tag, err := w.n.authentic(q.Generation, body, askLabel)
	if err != nil {
		return nil, err
	}
	if !hmac.Equal(tag, q.MAC) {
		return nil, errors.New("the MAC does not match")
	}
	err = w.remember(ledger.Head{Number: q.Number, Hash: [32]byte(q.Hash)})
	if err != nil && !errors.Is(err, ledger.ErrOlder) {
		return nil, err
	}
	r := reply{OK: err == nil}
	r.MAC, err = w.n.authentic(q.Generation, r.body(body), answerLabel)
	return r, err
}

// Confirm implements ledger.Witness.
func (w *witness) Confirm(ctx context.Context, members []string, h ledger.Head) error {
	if err := w.remember(h); err != nil {
		return err
	}
	have, need := 0, len(members)/2+1
	if len(members) == 0 || slices.Contains(members, w.n.o.Address) {
		have++
	}
	ctx, cancel := context.WithTimeout(ctx, witnessTimeout)
	defer cancel()
	answers := make(chan error, len(members))
	asked := 0
	for _, m := range members {
		if m != w.n.o.Address && have < need {
			asked++
			go func() { answers <- w.ask(ctx, m, h) }() // it ends with ctx
		}
	}
	var missing error
	for ; asked > 0 && have < need; asked-- {
		switch err := <-answers; {
		case errors.Is(err, ledger.ErrOlder):
			return err
		case err != nil:
			missing = errors.Join(missing, err)
		default:
			have++
		}
	}
	if have < need {
		return fmt.Errorf("%w: %d of %d, and %d must: %w", ledger.ErrNoMajority, have, len(members), need, missing)
	}
	return nil
}

// ask asks one member.
func (w *witness) ask(ctx context.Context, addr string, h ledger.Head) error {
	q := question{Generation: w.n.Current(), Nonce: make([]byte, nonceSize), Number: h.Number, Hash: h.Hash[:]}
	rand.Read(q.Nonce)
	body := q.body(w.n.o.Config.Cluster.Name)
	var err error
	if q.MAC, err = w.n.authentic(q.Generation, body, askLabel); err != nil {
		return err
	}
	b, err := w.n.party.Post(ctx, addr, seenPath, q)
	if err != nil {
		return err
	}
	var r reply
	if err := strictjson.Unmarshal(b, &r); err != nil {
		return err
	}
	tag, err := w.n.authentic(q.Generation, r.body(body), answerLabel)
	switch {
	case err != nil:
		return err
	case !hmac.Equal(tag, r.MAC):
		return fmt.Errorf("node %s: the MAC does not match", addr)
	case !r.OK:
		return fmt.Errorf("%w: node %s has seen a newer root than %d", ledger.ErrOlder, addr, h.Number)
	}
	return nil
}

func u64(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }
