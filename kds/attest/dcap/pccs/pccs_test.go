package pccs_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/attest/dcap"
	"github.com/coffer-fs/coffer/kds/attest/dcap/dcaptest"
	"github.com/coffer-fs/coffer/kds/attest/dcap/pccs"
)

var ctx = context.Background()

// service is a PCCS with the collateral of one machine.
type service struct {
	c      dcap.Collateral
	asked  atomic.Int64
	change func(w http.ResponseWriter, r *http.Request) bool // answers instead
	list   func([]byte) []byte                               // the form of lists
	tcb    string                                            // name of a header
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.asked.Add(1)
	if s.change != nil && s.change(w, r) {
		return
	}
	statement := func(name, text string, signature []byte) {
		_, _ = w.Write([]byte(`{"` + name + `":` + text + `,"signature":"` + hex.EncodeToString(signature) + `"}`))
	}
	switch r.Method + " " + r.URL.String() {
	case "GET /v4/tcb?fmspc=0090C06F0000":
		w.Header().Set(s.tcb, url.PathEscape(s.c.TCBInfoIssuerChain))
		statement("tcbInfo", s.c.TCBInfo, s.c.TCBInfoSignature)
	case "GET /v4/qe/identity":
		w.Header().Set("SGX-Enclave-Identity-Issuer-Chain", url.PathEscape(s.c.QEIdentityIssuerChain))
		statement("enclaveIdentity", s.c.QEIdentity, s.c.QEIdentitySignature)
	case "GET /v4/pckcrl?encoding=der&ca=processor":
		w.Header().Set("SGX-PCK-CRL-Issuer-Chain", url.PathEscape(s.c.PCKCRLIssuerChain))
		_, _ = w.Write(s.list(s.c.PCKCRL))
	case "GET /v4/rootcacrl":
		_, _ = w.Write(s.list(s.c.RootCACRL))
	default:
		http.NotFound(w, r)
	}
}

// start runs a service for a machine with one root.
func start(t *testing.T) (*dcaptest.Machine, *service, *pccs.Client) {
	t.Helper()
	m := dcaptest.New()
	m.RootCert = m.Root()
	s := &service{list: func(b []byte) []byte { return b }, tcb: "TCB-Info-Issuer-Chain"}
	_, s.c = m.Make(nil)
	h := httptest.NewServer(s)
	t.Cleanup(h.Close)
	return m, s, &pccs.Client{URL: h.URL + "/v4/", HTTP: h.Client(), Now: func() time.Time { return m.Now }}
}

func platform(m *dcaptest.Machine) dcap.Platform {
	return dcap.Platform{FMSPC: m.Platform.FMSPC, CA: dcap.ProcessorCA}
}

// Collateral comes as it was signed, whatever the form of lists and headers.
func TestForms(t *testing.T) {
	forms := map[string]func([]byte) []byte{
		"DER": func(b []byte) []byte { return b },
		"hex": func(b []byte) []byte { return []byte(hex.EncodeToString(b) + "\n") },
		"PEM": func(b []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: b}) },
	}
	for name, form := range forms {
		m, s, c := start(t)
		s.list = form
		if name == "hex" {
			s.tcb = "SGX-TCB-Info-Issuer-Chain"
		}
		got, err := c.Collateral(ctx, platform(m))
		if err != nil || !reflect.DeepEqual(got, s.c) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A verifier with this source reads the quotes of EGo.
func TestVerifier(t *testing.T) {
	m, _, c := start(t)
	quote, _ := m.Make(nil)
	o := m.Options()
	o.Source = c
	header := make([]byte, 16)
	header[0], header[4], header[8], header[9] = 1, 2, byte(len(quote)), byte(len(quote)>>8)
	r, err := dcap.New(o).Verify(ctx, attest.Evidence{Format: attest.FormatOpenEnclave, Data: append(header, quote...)})
	if err != nil || r.Identity.Level != attest.Secure {
		t.Errorf("%+v, %v", r, err)
	}
}

// What was got is kept for a while, and given on if the service fails later.
func TestKept(t *testing.T) {
	m, s, c := start(t)
	get := func(asked int64) {
		t.Helper()
		if _, err := c.Collateral(ctx, platform(m)); err != nil || s.asked.Load() != asked {
			t.Errorf("asked %d times, want %d: %v", s.asked.Load(), asked, err)
		}
	}
	get(4)
	m.Now = m.Now.Add(pccs.DefaultMaxAge - 1)
	get(4)
	m.Now = m.Now.Add(1)
	get(8)
	m.Now = m.Now.Add(-time.Second) // the clock went back
	get(12)
	s.change = func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(500); return true }
	m.Now = m.Now.Add(2 * pccs.DefaultMaxAge)
	get(13)
	get(14)
	for i := range pccs.MaxPlatforms {
		p := platform(m)
		p.PCEID[1] = byte(i + 1)
		if _, err := c.Collateral(ctx, p); !errors.Is(err, pccs.ErrService) {
			t.Fatal(err)
		}
	}
	if _, err := c.Collateral(ctx, platform(m)); !errors.Is(err, pccs.ErrService) {
		t.Error("more is kept than MaxPlatforms:", err)
	}
}

// Many at once ask once.
func TestAtOnce(t *testing.T) {
	m, s, c := start(t)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			if _, err := c.Collateral(ctx, platform(m)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if s.asked.Load() != 4 {
		t.Errorf("asked %d times", s.asked.Load())
	}
}

func TestRefused(t *testing.T) {
	answer := func(path string, status int, body string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasPrefix(r.URL.Path, "/v4/"+path) {
				return false
			}
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
			return true
		}
	}
	for text, change := range map[string]func(http.ResponseWriter, *http.Request) bool{
		"answer to tcb?fmspc=0090C06F0000: status 404":                                 answer("tcb", 404, ""),
		"answer to qe/identity: status 401":                                            answer("qe", 401, ""),
		"answer to pckcrl?encoding=der&ca=processor: status 500":                       answer("pckcrl", 500, ""),
		"answer to rootcacrl: status 503":                                              answer("rootcacrl", 503, ""),
		"answer to qe/identity: larger than 65536 bytes":                               answer("qe", 200, strings.Repeat(" ", pccs.MaxAnswerBytes+1)),
		"answer to tcb?fmspc=0090C06F0000: unexpected end":                             answer("tcb", 200, ""),
		"it has no tcbInfo with a signature":                                           answer("tcb", 200, `{"signature":""}`),
		"it has no enclaveIdentity with a signature":                                   answer("qe", 200, `{"enclaveIdentity":{},"signature":"x"}`),
		"it has no header TCB-Info-Issuer-Chain":                                       answer("tcb", 200, `{"tcbInfo":{},"signature":""}`),
		"it has no header SGX-PCK-CRL-Issuer-Chain":                                    answer("pckcrl", 200, ""),
		"answer to qe/identity: header SGX-Enclave-Identity-Issuer-Chain is":           badHeader("%zz"),
		"answer to qe/identity: header SGX-Enclave-Identity-Issuer-Chain is malformed": badHeader(strings.Repeat("x", dcap.MaxChainBytes+1)),
		"answer to tcb?fmspc=0090C06F0000: status 302": func(w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, "/v4/elsewhere", http.StatusFound)
			return true
		},
	} {
		m, s, c := start(t)
		s.change = change
		got, err := c.Collateral(ctx, platform(m))
		if !errors.Is(err, pccs.ErrService) || !strings.Contains(err.Error(), text) || !reflect.DeepEqual(got, dcap.Collateral{}) {
			t.Errorf("%v, want %q", err, text)
		}
	}
}

func badHeader(value string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/v4/qe/identity" {
			return false
		}
		w.Header().Set("SGX-Enclave-Identity-Issuer-Chain", value)
		_, _ = w.Write([]byte(`{"enclaveIdentity":{},"signature":""}`))
		return true
	}
}

func TestURL(t *testing.T) {
	for _, u := range []string{"", "host/v4", "ftp://host/v4", "https://", "https://host/v4?x=y", "http://[::1"} {
		c := &pccs.Client{URL: u}
		if _, err := c.Collateral(ctx, dcap.Platform{}); !errors.Is(err, pccs.ErrURL) {
			t.Errorf("%q: %v", u, err)
		}
	}
}

// A service that never answers holds nobody longer than he wants to wait.
func TestSlow(t *testing.T) {
	m, s, c := start(t)
	begun, end := make(chan bool, 8), make(chan bool)
	s.change = func(http.ResponseWriter, *http.Request) bool {
		begun <- true
		<-end
		return false
	}
	defer close(end)
	c.Timeout = 50 * time.Millisecond
	if _, err := c.Collateral(ctx, platform(m)); !errors.Is(err, pccs.ErrService) || !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	<-begun
	c.Timeout = time.Minute
	first, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { _, err := c.Collateral(first, platform(m)); done <- err }()
	<-begun
	second, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := c.Collateral(second, platform(m)); !errors.Is(err, context.Canceled) {
		t.Error("the second waits for the first:", err)
	}
	stop()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// What the service says is verified.
func TestLies(t *testing.T) {
	m, s, c := start(t)
	quote, _ := m.Make(nil)
	s.c.TCBInfo = string(bytes.Replace([]byte(s.c.TCBInfo), []byte("OutOfDate"), []byte("UpToDate"), 1))
	got, err := c.Collateral(ctx, platform(m))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dcap.New(m.Options()).Quote(ctx, quote, got); !errors.Is(err, dcap.ErrSignature) {
		t.Error(err)
	}
}
