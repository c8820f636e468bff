package peer

import (
	"crypto/tls"

	"github.com/coffer-fs/coffer/kds/internal/strictjson"
)

// Certificate is a node's own.
func Certificate(p *Party) tls.Certificate { return p.certificate }

// DecodeAnswer reads an answer as Fetch does.
func DecodeAnswer(b []byte) (Keys, error) {
	var a answer
	if err := strictjson.Unmarshal(b, &a); err != nil {
		return nil, err
	}
	return a.keys()
}
