package azurehsm

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
)

// maxMessage is how much of a service's message is shown.
const maxMessage = 300

// NewTransport speaks TLS with servers that roots vouch for; nil is the system's.
// It follows no redirects: another vault is another one.
func NewTransport(roots *x509.CertPool) policy.Transporter {
	return &http.Client{
		Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: TryTimeout, IdleConnTimeout: 30 * time.Second, MaxResponseHeaderBytes: 32 << 10},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// bounded bounds answers, and takes away what the library could not read.
type bounded struct{ policy.Transporter }

// Do implements policy.Transporter.
func (b bounded) Do(r *http.Request) (*http.Response, error) {
	resp, err := b.Transporter.Do(r)
	var certificate *tls.CertificateVerificationError
	if errors.As(err, &certificate) {
		return nil, final{fmt.Errorf("%w: %w", ErrWrongVault, certificate)}
	}
	if err != nil {
		return nil, err
	}
	resp.Body = http.MaxBytesReader(nil, resp.Body, MaxAnswerBytes)
	if resp.StatusCode == http.StatusUnauthorized && !readable(resp.Header.Get("WWW-Authenticate")) {
		resp.Header.Del("WWW-Authenticate")
	}
	return resp, nil
}

// final is an error after which the library must not try again.
type final struct{ error }

// NonRetriable marks it for the library.
func (final) NonRetriable() {}

// Unwrap is for errors.Is.
func (f final) Unwrap() error { return f.error }

// readable reports whether azkeys can read a challenge: it takes the fourth part
// of an authorization URL without looking whether there is one.
func readable(challenge string) bool {
	for part := range strings.SplitSeq(challenge, " ") {
		if name, value, ok := strings.Cut(part, "="); ok && strings.HasSuffix(name, "authorization") && strings.Count(value, "/") < 3 {
			return false
		}
	}
	return true
}

// explain says which of this package's errors one of the library's is. A
// service's own words are bounded and printed on one line.
func explain(what string, err error) error {
	var answer *azcore.ResponseError
	var login *azidentity.AuthenticationFailedError
	switch {
	case errors.Is(err, ErrWrongVault):
		return fmt.Errorf("%s: %w", what, err)
	case errors.As(err, &login):
		return fmt.Errorf("%s: %w: %s", what, ErrCredential, message(login.RawResponse))
	case errors.As(err, &answer):
		return fmt.Errorf("%s: %w: status %d, %s", what, meaning(answer.StatusCode), answer.StatusCode, message(answer.RawResponse))
	case strings.Contains(err.Error(), "challenge resource"):
		return fmt.Errorf("%s: %w: %s", what, ErrWrongVault, printable(err.Error()))
	case strings.Contains(err.Error(), "WWW-Authenticate"):
		return fmt.Errorf("%s: %w: it asks for a credential in a way that is not Azure's", what, ErrWrongVault)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s: %w in time", what, ErrUnreachable)
	}
	return as(fmt.Errorf("%s: %w", what, ErrUnreachable), err)
}

func meaning(status int) error {
	switch {
	case status == http.StatusTooManyRequests:
		return ErrThrottled
	case status == http.StatusUnauthorized:
		return ErrCredential
	case status == http.StatusNotFound:
		return ErrKey
	case status >= 300 && status < 400:
		return ErrWrongVault
	case status >= 500:
		return ErrUnreachable
	}
	return ErrRefused
}

// message is the code and the words of a refusal: the login has a form of its own.
func message(resp *http.Response) string {
	var service struct {
		Error struct {
			Code    string `json:"code"`
			Message string `json:"message"`
		} `json:"error"`
	}
	var login struct {
		Code    string `json:"error"`
		Message string `json:"error_description"`
	}
	if resp == nil {
		return "no answer"
	}
	b, err := runtime.Payload(resp)
	if err != nil || json.Unmarshal(b, &service) != nil && json.Unmarshal(b, &login) != nil {
		return "no words that can be read"
	}
	return printable(service.Error.Code + login.Code + ": " + service.Error.Message + login.Message)
}

// printable is the beginning of s on one line.
func printable(s string) string {
	s = strings.Join(strings.FieldsFunc(strings.ToValidUTF8(s, "?"), func(r rune) bool { return r <= ' ' || r == 0x7f }), " ")
	if len(s) > maxMessage {
		s = strings.ToValidUTF8(s[:maxMessage], "") + "..."
	}
	return s
}
