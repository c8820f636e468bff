package cluster

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha512"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/cluster/record"
	"github.com/coffer-fs/coffer/key"
)

// The paths of a node that people ask, beside those of every KDS.
const (
	StatusPath  = "/cluster"
	ProposePath = "/cluster/propose"
	ConfirmPath = "/cluster/confirm"
	RetirePath  = "/cluster/retire"
	SharePath   = "/cluster/share"
	ForgetPath  = "/cluster/forget"
)

// The states of a node.
const (
	// Unborn: the cluster has no master key yet.
	Unborn = "unborn"
	// Waiting: the cluster has one, and this node does not. It asks other
	// nodes, and takes the shares of custodians.
	Waiting = "waiting"
	// Member: the node has the master keys.
	Member = "member"
)

// Status is the answer to GET /cluster. Nothing in it is secret.
type Status struct {
	Cluster       string             `json:"cluster"`
	State         string             `json:"state"`
	MasterKeyType kds.MasterKeyType  `json:"masterKeyType"`
	Current       kds.Generation     `json:"current,omitempty"`
	Generations   []GenerationStatus `json:"generations,omitempty"`
	Members       []MemberStatus     `json:"members,omitempty"`
	// Witnesses are the nodes that remember how far anchors and orders have
	// come, and Forgotten the number of the last order to forget one.
	Witnesses []string `json:"witnesses,omitempty"`
	Forgotten uint64   `json:"forgotten,omitempty"`
	// Store is what is wrong with the store, as this node sees it.
	Store string `json:"store,omitempty"`
	// Recovery is there while the node waits.
	Recovery *Recovery `json:"recovery,omitempty"`
}

// GenerationStatus is what a node knows of a generation.
type GenerationStatus struct {
	Generation kds.Generation `json:"generation"`
	Hash       string         `json:"hash"`
	Commitment string         `json:"commitment"`
	Held       bool           `json:"held"`
	Retired    bool           `json:"retired,omitempty"`
}

// MemberStatus is what the store says of a node.
type MemberStatus struct {
	Address    string         `json:"address"`
	Generation kds.Generation `json:"generation"`
	Alive      bool           `json:"alive"`
}

// Recovery is what custodians need: the records with their shares, and a key of
// this node, with evidence over it, to seal them to.
type Recovery struct {
	Key      []byte          `json:"key"`
	Evidence attest.Evidence `json:"evidence"`
	Records  [][]byte        `json:"records,omitempty"`
	Shares   []ShareStatus   `json:"shares,omitempty"`
}

// ShareStatus says how many shares of a generation have come.
type ShareStatus struct {
	Generation kds.Generation `json:"generation"`
	Have       int            `json:"have"`
	Need       int            `json:"need"`
}

// Propose is the body of POST /cluster/propose: an operator's wish for a master key.
type Propose struct {
	Generation kds.Generation `json:"generation"`
	Nonce      []byte         `json:"nonce"` // another for each
	Operator   []byte         `json:"operator"`
	Signature  []byte         `json:"signature"`
}

// signed is what the operator signs.
func (q Propose) signed(cluster string) []byte {
	return key.Info(proposeLabel, []byte(cluster), u32(uint32(q.Generation)), q.Nonce)
}

// NewPropose is an operator's wish for generation want of a cluster.
func NewPropose(cluster string, want kds.Generation, operator ed25519.PrivateKey) Propose {
	q := Propose{Generation: want, Nonce: make([]byte, nonceSize), Operator: operator.Public().(ed25519.PublicKey)}
	rand.Read(q.Nonce)
	q.Signature = ed25519.Sign(operator, q.signed(cluster))
	return q
}

// Proposal is the answer to POST /cluster/propose: the record of a master key
// that was made, for an operator to sign.
type Proposal struct {
	Body     []byte          `json:"body"`
	Evidence attest.Evidence `json:"evidence"`
}

// Confirmation is the body of POST /cluster/confirm.
type Confirmation struct {
	Hash      []byte `json:"hash"`
	Operator  []byte `json:"operator"`
	Signature []byte `json:"signature"`
}

// Retire is the body of POST /cluster/retire.
type Retire struct {
	Record []byte `json:"record"`
}

// Shares is the body of POST /cluster/share: a custodian's share of every
// generation.
type Shares struct {
	Custodian string  `json:"custodian"`
	Shares    []Share `json:"shares,omitempty"`
}

// Share is one share, sealed to the node.
type Share struct {
	Generation kds.Generation `json:"generation"`
	Sealed     []byte         `json:"sealed"`
}

// The labels of this package.
const (
	recoveryLabel = "coffer/cluster/v1/recovery key"
	proposalLabel = "coffer/cluster/v1/proposal"
	proposeLabel  = "coffer/cluster/v1/proposed by the operator"
)

// RecoveryData is what a node's evidence over its recovery key is made over.
func RecoveryData(cluster string, public []byte) attest.ReportData {
	return sha512.Sum512(key.Info(recoveryLabel, []byte(cluster), public))
}

// ProposalData is what a node's evidence over a proposal is made over.
func ProposalData(h record.Hash) attest.ReportData {
	return sha512.Sum512(key.Info(proposalLabel, h[:]))
}
