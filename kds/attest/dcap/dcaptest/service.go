package dcaptest

import (
	"encoding/hex"
	"net/http"
	"net/url"
	"strings"

	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/attest/dcap"
)

// Service is a PCCS that has one platform's collateral, for requests under any
// path up to a version.
type Service struct{ Collateral dcap.Collateral }

// ServeHTTP implements http.Handler.
func (s Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := s.Collateral
	statement := func(header, chain, name, text string, signature []byte) {
		w.Header().Set(header, url.PathEscape(chain))
		_, _ = w.Write([]byte(`{"` + name + `":` + text + `,"signature":"` + hex.EncodeToString(signature) + `"}`))
	}
	switch _, path, _ := strings.Cut(r.URL.Path, "/v4/"); path {
	case "tcb":
		statement("TCB-Info-Issuer-Chain", c.TCBInfoIssuerChain, "tcbInfo", c.TCBInfo, c.TCBInfoSignature)
	case "qe/identity":
		statement("SGX-Enclave-Identity-Issuer-Chain", c.QEIdentityIssuerChain, "enclaveIdentity", c.QEIdentity, c.QEIdentitySignature)
	case "pckcrl":
		w.Header().Set("SGX-PCK-CRL-Issuer-Chain", url.PathEscape(c.PCKCRLIssuerChain))
		_, _ = w.Write(c.PCKCRL)
	case "rootcacrl":
		_, _ = w.Write(c.RootCACRL)
	default:
		http.NotFound(w, r)
	}
}

// OpenEnclave is a quote as EGo gives it: behind a header of Open Enclave, and
// without collateral.
func OpenEnclave(quote []byte) attest.Evidence {
	header := make([]byte, 8, 16+len(quote))
	header[0], header[4] = 1, 2
	return attest.Evidence{Format: attest.FormatOpenEnclave, Data: sized64(header, quote)}
}

// EGo is an enclave whose evidence is that of EGo. The machine needs a RootCert,
// which lasts.
type EGo struct{ Enclave }

var _ attest.Platform = EGo{}

// Quote implements attest.Platform.
func (e EGo) Quote(data attest.ReportData) (attest.Evidence, error) {
	e.Machine.Quoted.SetData(data)
	quote, _ := e.Machine.Make(nil)
	return OpenEnclave(quote), nil
}
