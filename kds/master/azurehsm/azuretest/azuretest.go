// Package azuretest is an Azure of its own, on the loopback interface, for tests:
// a login, an attestation service and a vault that speak the wire protocol over
// TLS, under the names that they would have.
//
//	login        a token for a client secret
//	attestation  verifies a quote as it is told to, and signs a token
//	vault        answers 401 with a challenge, checks the bearer token, verifies the
//	             attestation token, evaluates the release policy, wraps the key
//
// It promises to do what is right, and every lie that a test asks for. Imported by
// tests only.
package azuretest

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/nodeconfig"
)

// The names of the services.
const (
	VaultHost       = "coffer-test.managedhsm.azure.net"
	AttestationHost = "coffertest.weu.attest.azure.net"
	LoginHost       = "login.microsoftonline.com"
	Tenant          = "11111111-2222-3333-4444-555555555555"
	Client          = "66666666-7777-8888-9999-000000000000"
	Secret          = "the secret of a client"
	KeyName         = "coffer"
)

const bearer = "a token that the vault takes"

// Azure is all of it. A test changes fields under Lock.
type Azure struct {
	sync.Mutex

	// VerifyQuote is what the attestation service thinks of quotes.
	VerifyQuote func(quote []byte) (attest.Report, error)
	// Key is the key in the vault.
	Key *Key
	// Intercept answers in place of a service, if it returns true.
	Intercept func(w http.ResponseWriter, r *http.Request) bool
	// EditClaims and EditAnswer change what is signed.
	EditClaims func(map[string]any)
	EditAnswer func(payload map[string]any)
	// EditToken and EditValue change what was signed.
	EditToken, EditValue func(string) string
	// Signer signs the vault's answers. Default the vault's certificate.
	Signer *Identity
	// Now is the services' clock.
	Now func() time.Time
	// Asked counts requests by host and path.
	Asked map[string]int

	ca       *Identity
	vault    *Identity
	attester *rsa.PrivateKey
	server   *httptest.Server
}

// Identity is a certificate with its key, and those above it.
type Identity struct {
	Key   *rsa.PrivateKey
	Chain [][]byte // DER, leaf first
	cert  *x509.Certificate
}

// New starts an Azure that ends with the test. Its vault has a key for the enclave
// that quotes are of.
func New(t testing.TB, self attest.Identity, verify func([]byte) (attest.Report, error)) *Azure {
	t.Helper()
	a := &Azure{VerifyQuote: verify, Now: time.Now, Asked: map[string]int{}, attester: attesterKey()}
	a.ca = authority(t, caKey())
	a.vault = a.Issue(t, VaultHost, AttestationHost, LoginHost)
	a.Key = NewKey(t, self)
	a.server = httptest.NewUnstartedServer(http.HandlerFunc(a.serve))
	a.server.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: a.vault.Chain, PrivateKey: a.vault.Key}}}
	a.server.StartTLS()
	t.Cleanup(a.server.Close)
	return a
}

// The keys of a test's Azure are made once: only those in the vault differ.
var caKey, strangerKey, serverKey, attesterKey = once(), once(), once(), once()

func once() func() *rsa.PrivateKey { return sync.OnceValue(newRSA) }

func newRSA() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	must(err)
	return k
}

func authority(t testing.TB, k *rsa.PrivateKey) *Identity {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Azure of a test"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	return certify(t, template, template, k, k, nil)
}

// Issue is a certificate for names, by the authority that all believe.
func (a *Azure) Issue(t testing.TB, names ...string) *Identity {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: names[0]}, DNSNames: names,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	return certify(t, template, a.ca.cert, serverKey(), a.ca.Key, a.ca.Chain)
}

// Stranger is a certificate for names, by an authority that nobody believes.
func (a *Azure) Stranger(t testing.TB, names ...string) *Identity {
	t.Helper()
	other := &Azure{ca: authority(t, strangerKey())}
	return other.Issue(t, names...)
}

func certify(t testing.TB, template, parent *x509.Certificate, k, by *rsa.PrivateKey, above [][]byte) *Identity {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &k.PublicKey, by)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &Identity{Key: k, Chain: append([][]byte{der}, above...), cert: cert}
}

// RootsPEM are the authorities to believe.
func (a *Azure) RootsPEM() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.ca.Chain[0]}))
}

// Config is the measured configuration for it.
func (a *Azure) Config() *nodeconfig.AzureHSM {
	roots := x509.NewCertPool()
	roots.AddCert(a.ca.cert)
	return &nodeconfig.AzureHSM{Name: "test", Vault: "https://" + VaultHost, Key: KeyName, Attestation: "https://" + AttestationHost, Roots: roots}
}

// Transport reaches the services by their names.
func (a *Azure) Transport() *http.Client {
	return &http.Client{
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: a.Config().Roots}, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", a.server.Listener.Addr().String())
		}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Proxy is the URL of an HTTP proxy through which all names are this Azure's.
func (a *Azure) Proxy(t testing.TB) string {
	t.Helper()
	p := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect {
			http.Error(w, "CONNECT only", http.StatusMethodNotAllowed)
			return
		}
		a.tunnel(w)
	}))
	t.Cleanup(p.Close)
	return p.URL
}

// tunnel joins a client with the services, until one of them ends.
func (a *Azure) tunnel(w http.ResponseWriter) {
	to, err := net.Dial("tcp", a.server.Listener.Addr().String())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer to.Close()
	from, buffered, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	defer from.Close()
	if _, err := io.WriteString(from, "HTTP/1.1 200 OK\r\n\r\n"); err != nil {
		return
	}
	done := make(chan struct{}, 2)
	go func() { _, _ = io.Copy(to, buffered); done <- struct{}{} }()
	go func() { _, _ = io.Copy(from, to); done <- struct{}{} }()
	<-done
}

// serve is all services, by name.
func (a *Azure) serve(w http.ResponseWriter, r *http.Request) {
	a.Lock()
	defer a.Unlock()
	a.Asked[r.Host+r.URL.Path]++
	if a.Intercept != nil && a.Intercept(w, r) {
		return
	}
	switch r.Host {
	case LoginHost:
		a.login(w, r)
	case AttestationHost:
		a.attest(w, r)
	case VaultHost:
		a.serveVault(w, r)
	default:
		http.Error(w, "nobody has that name", http.StatusMisdirectedRequest)
	}
}
