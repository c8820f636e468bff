package pccs

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/coffer-fs/coffer/kds/attest/dcap"
)

// Headers with the chains of issuers, by the versions of the interface.
var (
	tcbHeaders = []string{"TCB-Info-Issuer-Chain", "SGX-TCB-Info-Issuer-Chain"}
	qeHeaders  = []string{"SGX-Enclave-Identity-Issuer-Chain"}
	crlHeaders = []string{"SGX-PCK-CRL-Issuer-Chain"}
)

// ask gets the four pieces of a platform's collateral.
func (c *Client) ask(ctx context.Context, p dcap.Platform) (to dcap.Collateral, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout())
	defer cancel()
	if to.TCBInfo, to.TCBInfoSignature, to.TCBInfoIssuerChain, err = c.statement(ctx, "tcb?fmspc="+p.FMSPC.String(), "tcbInfo", tcbHeaders); err != nil {
		return to, err
	}
	if to.QEIdentity, to.QEIdentitySignature, to.QEIdentityIssuerChain, err = c.statement(ctx, "qe/identity", "enclaveIdentity", qeHeaders); err != nil {
		return to, err
	}
	crl, err := c.get(ctx, "pckcrl?encoding=der&ca="+url.QueryEscape(string(p.CA)))
	if err != nil {
		return to, err
	}
	if to.PCKCRLIssuerChain, err = crl.chain(crlHeaders); err != nil {
		return to, err
	}
	root, err := c.get(ctx, "rootcacrl")
	to.PCKCRL, to.RootCACRL = crl.list(), root.list()
	return to, err
}

// statement gets a signed text: {"NAME": TEXT, "signature": HEX}.
func (c *Client) statement(ctx context.Context, path, name string, headers []string) (text string, signature dcap.Hex, chain string, err error) {
	a, err := c.get(ctx, path)
	if err != nil {
		return "", nil, "", err
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(a.body, &fields); err != nil {
		return "", nil, "", a.refuse("%v", err)
	}
	if err := json.Unmarshal(fields["signature"], &signature); err != nil || len(fields[name]) == 0 {
		return "", nil, "", a.refuse("it has no %s with a signature", name)
	}
	chain, err = a.chain(headers)
	return string(fields[name]), signature, chain, err
}

// answer is what the service says to one path.
type answer struct {
	path   string
	header http.Header
	body   []byte
}

func (a answer) refuse(format string, args ...any) error {
	return fmt.Errorf("%w: answer to %s: %s", ErrService, a.path, fmt.Sprintf(format, args...))
}

// chain is the chain of issuers in the first header that is there.
func (a answer) chain(headers []string) (string, error) {
	for _, name := range headers {
		if v := a.header.Get(name); v != "" {
			text, err := url.PathUnescape(v)
			if err != nil || len(text) > dcap.MaxChainBytes {
				return "", a.refuse("header %s is malformed", name)
			}
			return text, nil
		}
	}
	return "", a.refuse("it has no header %s", headers[0])
}

// list is a revocation list as DER. Services give DER, its hexadecimal digits,
// or PEM.
func (a answer) list() []byte {
	text := bytes.TrimSpace(a.body)
	if b, err := hex.DecodeString(string(text)); err == nil {
		return b
	}
	if block, _ := pem.Decode(text); block != nil && block.Type == "X509 CRL" {
		return block.Bytes
	}
	return a.body
}

// get asks for one path.
func (c *Client) get(ctx context.Context, path string) (answer, error) {
	a := answer{path: path}
	u, err := url.Parse(c.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" {
		return a, fmt.Errorf("%w: %q", ErrURL, c.URL)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimRight(c.URL, "/")+"/"+path, nil)
	if err != nil {
		return a, fmt.Errorf("%w: %w", ErrURL, err)
	}
	resp, err := c.http().Do(r)
	if err != nil {
		return a, fmt.Errorf("%w: %w", ErrService, err)
	}
	defer resp.Body.Close()
	a.header = resp.Header
	a.body, err = io.ReadAll(io.LimitReader(resp.Body, MaxAnswerBytes+1))
	switch {
	case err != nil:
		return a, a.refuse("%v", err)
	case resp.StatusCode != http.StatusOK:
		return a, a.refuse("status %d", resp.StatusCode)
	case len(a.body) > MaxAnswerBytes:
		return a, a.refuse("larger than %d bytes", MaxAnswerBytes)
	}
	return a, nil
}

// http is the client's own, without redirects.
func (c *Client) http() *http.Client {
	h := http.Client{}
	if c.HTTP != nil {
		h = *c.HTTP
	}
	h.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &h
}
