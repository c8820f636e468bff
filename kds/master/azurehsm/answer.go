package azurehsm

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"

	"github.com/go-jose/go-jose/v4"
)

// answer is what a vault released.
type answer struct {
	kty        string
	ciphertext []byte
}

// payload is what a vault signs. Fields that are not looked at are left out.
type payload struct {
	Request struct {
		Enc   string `json:"enc"`
		Nonce string `json:"nonce"`
	} `json:"request"`
	Response struct {
		Key struct {
			Key struct {
				KID    string `json:"kid"`
				Kty    string `json:"kty"`
				KeyHSM string `json:"key_hsm"`
			} `json:"key"`
		} `json:"key"`
	} `json:"response"`
}

// keyHSM is the wrapped key inside of that.
type keyHSM struct {
	Ciphertext string `json:"ciphertext"`
	Header     struct {
		Enc string `json:"enc"`
	} `json:"header"`
}

// readAnswer reads a signed answer: the vault's, for this key and this question.
func (k *KEK) readAnswer(text, kid, nonce string) (answer, error) {
	b, err := k.signed(text)
	if err != nil {
		return answer{}, fmt.Errorf("%w: %w", ErrAnswer, err)
	}
	var p payload
	if err := json.Unmarshal(b, &p); err != nil {
		return answer{}, fmt.Errorf("%w: %s", ErrAnswer, printable(err.Error()))
	}
	switch released := p.Response.Key.Key; {
	case released.KID != kid:
		return answer{}, fmt.Errorf("%w: it is %.200q, want %q", ErrAnswer, released.KID, kid)
	case p.Request.Nonce != "" && p.Request.Nonce != nonce:
		return answer{}, fmt.Errorf("%w: it answers another question", ErrAnswer)
	}
	return readKeyHSM(p)
}

func readKeyHSM(p payload) (answer, error) {
	b, err := base64.RawURLEncoding.DecodeString(p.Response.Key.Key.KeyHSM)
	if err != nil {
		return answer{}, fmt.Errorf("%w: key_hsm: %w", ErrAnswer, err)
	}
	var h keyHSM
	if err := json.Unmarshal(b, &h); err != nil {
		return answer{}, fmt.Errorf("%w: key_hsm: %s", ErrAnswer, printable(err.Error()))
	}
	for _, enc := range []string{p.Request.Enc, h.Header.Enc} {
		if enc != "" && enc != string(wrapAlgorithm) {
			return answer{}, fmt.Errorf("%w: it is wrapped by %.40q, want %s", ErrAnswer, enc, wrapAlgorithm)
		}
	}
	a := answer{kty: p.Response.Key.Key.Kty}
	if a.ciphertext, err = base64.RawURLEncoding.DecodeString(h.Ciphertext); err != nil {
		return answer{}, fmt.Errorf("%w: ciphertext: %w", ErrAnswer, err)
	}
	return a, nil
}

// signed is what the vault has signed: by a certificate for its own name, which
// the roots vouch for.
func (k *KEK) signed(text string) ([]byte, error) {
	s, err := jose.ParseSignedCompact(text, signatures)
	if err != nil {
		return nil, fmt.Errorf("it is not signed: %s", printable(err.Error()))
	}
	chains, err := s.Signatures[0].Protected.Certificates(x509.VerifyOptions{DNSName: k.host, Roots: k.o.Config.Roots, CurrentTime: k.o.Now(),
		Intermediates: x509.NewCertPool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	if err != nil {
		return nil, fmt.Errorf("its signer is not the vault: %s", printable(err.Error()))
	}
	b, err := s.Verify(chains[0][0].PublicKey)
	if err != nil {
		return nil, fmt.Errorf("its signature is wrong: %w", err)
	}
	return b, nil
}
