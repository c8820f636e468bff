package config

import (
	"crypto/ed25519"
	"encoding/hex"

	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// Upgrade is the upgrade block. It is measured: who signs tickets is the word of
// whoever built the enclave, not of the host.
type Upgrade struct {
	// TicketKey verifies upgrade tickets, of handovers from this enclave and to it.
	TicketKey ed25519.PublicKey
}

var upgradeSchema = schema{attributes: []string{"ticketKey"}}

func (p *parser) upgrade(b *hclsyntax.Block) *Upgrade {
	attributes, _ := p.split(b.Body, upgradeSchema)
	u := &Upgrade{}
	text, ok := p.text(attributes, "ticketKey", b)
	if !ok {
		return u
	}
	k, err := hex.DecodeString(text)
	if err != nil || len(k) != ed25519.PublicKeySize {
		p.fail(attributes["ticketKey"].Expr.Range(), "upgrade: ticketKey is what coffer ticket key printed, %d hexadecimal digits", 2*ed25519.PublicKeySize)
	}
	u.TicketKey = k
	return u
}
