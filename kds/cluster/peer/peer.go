// Package peer is how the nodes of a cluster talk: TLS in which each side shows
// evidence for this very connection, and nothing else.
//
// The certificates vouch for nothing: each node makes one for itself when it
// starts. What vouches is evidence over a secret of the connection that both
// sides derive from the handshake (RFC 8446, 7.5), so it fits no other
// connection, and nobody can sit in between. It promises that a master key is
// sent only on a connection whose other end was identified so, as an enclave
// that may be a node of this cluster.
//
// Sessions are never resumed, there are no tickets, and nothing but TLS 1.3 is
// spoken; the check is in VerifyConnection, which runs for every handshake.
//
// Imported by kds/cluster. Imports kds, kds/attest and kds/nodeconfig.
package peer

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"time"

	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/nodeconfig"
	"github.com/coffer-fs/coffer/key"
)

// Limits.
const (
	// MaxBytes is the largest request or answer.
	MaxBytes = 256 << 10
	// Timeout is how long a whole exchange may take.
	Timeout = 5 * time.Second
)

var (
	// ErrNotPeer: the other end may not be a node of this cluster.
	ErrNotPeer = errors.New("not a node of this cluster")
	// ErrConnection: the connection is not as it must be.
	ErrConnection = errors.New("connection between nodes is not valid")
	// ErrRate: master keys are asked for too often.
	ErrRate = errors.New("too many requests for master keys")
	// ErrRefused: the other node said no.
	ErrRefused = errors.New("the other node refused")
)

const (
	evidenceLabel = "coffer/cluster/v1/node"
	exporterLabel = "EXPORTER-coffer-cluster-v1"
	exporterSize  = 32
	// No name is ever asked for: the certificate is an envelope for a key.
	serverName = "node.coffer.invalid"
)

// role says which end of a connection evidence is of: what one side showed is
// never good for the other.
type role string

const (
	asking    role = "asks"
	answering role = "answers"
)

// Party is one node, as others meet it.
type Party struct {
	Cluster  string           // its name. Required
	Platform attest.Platform  // Required
	Verifier attest.Verifier  // of the other's evidence. Required
	Peers    nodeconfig.Peers // who may be a node

	certificate tls.Certificate
	rates       *rates
	pool        http.Client // for messages that need no evidence
}

// Init makes the node's certificate. It must be called first.
func (p *Party) Init() error {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Unix(0, 0), NotAfter: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), DNSNames: []string{serverName}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		return err
	}
	p.rates = newRates()
	p.certificate = tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}
	p.pool = http.Client{
		Timeout: Timeout,
		Transport: &http.Transport{
			DialTLSContext:      func(ctx context.Context, _, addr string) (net.Conn, error) { return p.dialOnly(ctx, addr) },
			MaxIdleConnsPerHost: 4, IdleConnTimeout: Timeout / 2, MaxResponseHeaderBytes: headerBytes,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return nil
}

// config is of both sides. Certificates are not verified against any root,
// because there is none: VerifyConnection looks at every handshake, and evidence
// for the connection is what counts.
func (p *Party) config() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, MaxVersion: tls.VersionTLS13,
		Certificates: []tls.Certificate{p.certificate}, ClientAuth: tls.RequireAnyClientCert,
		InsecureSkipVerify: true, ServerName: serverName, //nolint:gosec // see above
		SessionTicketsDisabled: true, ClientSessionCache: nil,
		NextProtos:       []string{"http/1.1"},
		VerifyConnection: func(cs tls.ConnectionState) error { _, err := peerKey(cs); return err },
	}
}

// peerKey is the other side's key, if the connection is as it must be.
func peerKey(cs tls.ConnectionState) (ed25519.PublicKey, error) {
	switch {
	case cs.Version != tls.VersionTLS13:
		return nil, fmt.Errorf("%w: TLS version %x", ErrConnection, cs.Version)
	case cs.DidResume:
		return nil, fmt.Errorf("%w: a resumed session", ErrConnection)
	case len(cs.PeerCertificates) != 1:
		return nil, fmt.Errorf("%w: %d certificates", ErrConnection, len(cs.PeerCertificates))
	}
	k, ok := cs.PeerCertificates[0].PublicKey.(ed25519.PublicKey)
	if !ok {
		return nil, fmt.Errorf("%w: not an Ed25519 key", ErrConnection)
	}
	return k, nil
}

// bound is what the evidence of one end of a connection is made over.
func (p *Party) bound(r role, cs tls.ConnectionState, of ed25519.PublicKey) (attest.ReportData, error) {
	secret, err := cs.ExportKeyingMaterial(exporterLabel, nil, exporterSize)
	if err != nil {
		return attest.ReportData{}, fmt.Errorf("%w: %w", ErrConnection, err)
	}
	return sha512.Sum512(key.Info(evidenceLabel, []byte(p.Cluster), []byte(r), secret, of)), nil
}

// show makes evidence for this end.
func (p *Party) show(r role, cs tls.ConnectionState) (attest.Evidence, error) {
	data, err := p.bound(r, cs, p.certificate.PrivateKey.(ed25519.PrivateKey).Public().(ed25519.PublicKey))
	if err != nil {
		return attest.Evidence{}, err
	}
	return p.Platform.Quote(data)
}

// identify says who is at the other end.
func (p *Party) identify(ctx context.Context, r role, cs tls.ConnectionState, e attest.Evidence) (attest.Identity, error) {
	k, err := peerKey(cs)
	if err != nil {
		return attest.Identity{}, err
	}
	want, err := p.bound(r, cs, k)
	if err != nil {
		return attest.Identity{}, err
	}
	report, err := p.Verifier.Verify(ctx, e)
	switch {
	case err != nil:
		return attest.Identity{}, err
	case report.ReportData != want:
		return attest.Identity{}, fmt.Errorf("%w: it is not for this connection", attest.ErrEvidence)
	}
	self, err := p.Platform.Self()
	if err != nil {
		return attest.Identity{}, err
	}
	return report.Identity, Admit(p.Peers, self, report.Identity, r == asking)
}

// Admit decides whether other may be a node beside self. Who gets a master key
// must not be of a lower security version than who gives it; who gives it may,
// for it is checked against the commitment that the operator signed.
func Admit(p nodeconfig.Peers, self, other attest.Identity, gets bool) error {
	if err := other.Check(); err != nil {
		return fmt.Errorf("%w: %w", ErrNotPeer, err)
	}
	same := other.CodeHash == self.CodeHash
	built := p.SameSigner && other.SignerHash == self.SignerHash && other.ProductID == self.ProductID
	switch {
	case other.Mode != self.Mode:
		return fmt.Errorf("%w: it runs in %s, this node in %s", ErrNotPeer, other.Mode, self.Mode)
	case self.Mode == attest.Release && other.Level < p.Level:
		return fmt.Errorf("%w: its platform is %s, wanted is %s", ErrNotPeer, other.Level, p.Level)
	case !same && !built && p.SameSigner:
		return fmt.Errorf("%w: it is of signer %s and product %d, this node of signer %s and product %d",
			ErrNotPeer, other.SignerHash, other.ProductID, self.SignerHash, self.ProductID)
	case !same && !built:
		return fmt.Errorf("%w: its code is %s, this node's %s", ErrNotPeer, other.CodeHash, self.CodeHash)
	case !same && gets && other.RevocationLevel < self.RevocationLevel:
		return fmt.Errorf("%w: its revocation level is %d, this node's %d", ErrNotPeer, other.RevocationLevel, self.RevocationLevel)
	}
	return nil
}
