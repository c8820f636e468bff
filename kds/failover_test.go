package kds_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coffer-fs/coffer/internal/freeaddr"
	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/kdstest"
)

// counted is an address that counts who asks it.
type counted struct {
	url   string
	asked atomic.Int64
}

func serves(t *testing.T, h http.HandlerFunc) *counted {
	t.Helper()
	c := &counted{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.asked.Add(1)
		h(w, r)
	}))
	t.Cleanup(s.Close)
	c.url = s.URL
	return c
}

// says gives one answer to all.
func says(t *testing.T, status int, body string) *counted {
	return serves(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	})
}

func hangs(t *testing.T) *counted {
	open := make(chan struct{})
	c := serves(t, func(http.ResponseWriter, *http.Request) { <-open })
	t.Cleanup(func() { close(open) }) // before the server closes
	return c
}

// closedAddress is one at which nobody listens.
func closedAddress(t *testing.T) string {
	address, err := freeaddr.New()
	if err != nil {
		t.Fatal(err)
	}
	return "http://" + address
}

// Whatever is wrong with the other nodes, one that answers is enough; a node
// that is no use is asked once.
func TestFailover(t *testing.T) {
	k := kdstest.New(t, kdstest.Options{})
	spec := kdstest.Spec(t, kdstest.AppPolicy)
	want := private(t, k.Client(t, kdstest.Sim(t, kdstest.AppBuild), ""), spec, kds.Storage)
	fake := kdstest.New(t, kdstest.Options{Platform: kdstest.Sim(t, kdstest.AppBuild)})
	for name, url := range map[string]string{
		"down": closedAddress(t), "slow": hangs(t).url, "busy": says(t, 429, `{"reason":"x"}`).url,
		"unavailable": says(t, 503, `{}`).url, "proxy": says(t, 502, `<html>`).url, "page": says(t, 200, `<html>`).url,
		"empty": says(t, 200, `{}`).url, "not trusted": fake.URL,
	} {
		c := k.Client(t, kdstest.Sim(t, kdstest.AppBuild), url+", "+k.URL)
		if name == "slow" {
			c.Timeout = 2 * time.Second // half of it is lost
		}
		if got := private(t, c, spec, kds.Storage); !got.Equal(want) {
			t.Errorf("%s: another key", name)
		}
		if _, err := c.Public(ctx, spec, kds.Mail); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A node that refuses is final: nobody else is asked.
func TestRefusalIsFinal(t *testing.T) {
	k := kdstest.New(t, kdstest.Options{})
	other := says(t, 503, `{}`)
	c := k.Client(t, kdstest.Sim(t, kdstest.AppBuild), k.URL+","+other.url)
	c.Tries = 0
	_, err := c.Private(ctx, kdstest.Spec(t, kdstest.AppPolicy+" REVOKE:1"), kds.Storage)
	wants(t, "refused", err, kds.ErrRefused, "REVOKE: wants revocation level 1")
	if other.asked.Load() != 0 || strings.Contains(err.Error(), k.URL) {
		t.Errorf("%d others were asked: %v", other.asked.Load(), err)
	}
}

// A node that is started again, or busy for a while, is found within the
// time-out.
func TestRetry(t *testing.T) {
	k := kdstest.New(t, kdstest.Options{})
	var asked atomic.Int64
	node := serves(t, func(w http.ResponseWriter, r *http.Request) {
		switch asked.Add(1) {
		case 1:
			w.WriteHeader(http.StatusServiceUnavailable)
		case 2:
			panic(http.ErrAbortHandler) // the connection breaks
		default:
			k.Node.ServeHTTP(w, r)
		}
	})
	c := k.Client(t, kdstest.Sim(t, kdstest.AppBuild), node.url)
	c.Tries, c.Timeout = 0, time.Minute
	private(t, c, kdstest.Spec(t, kdstest.AppPolicy), kds.Storage)
	if asked.Load() != 3 {
		t.Errorf("asked %d times", asked.Load())
	}
}

// awayOnce is a verifier that cannot have what it needs the first time.
type awayOnce struct {
	attest.Verifier
	asked int
}

func (a *awayOnce) Verify(ctx context.Context, e attest.Evidence) (attest.Report, error) {
	if a.asked++; a.asked == 1 {
		return attest.Report{}, attest.ErrUnavailable
	}
	return a.Verifier.Verify(ctx, e)
}

// That the service with Intel's collateral is away says nothing of the node.
func TestCollateralAway(t *testing.T) {
	k := kdstest.New(t, kdstest.Options{})
	c := k.Client(t, kdstest.Sim(t, kdstest.AppBuild), "")
	v := &awayOnce{Verifier: c.Verifier}
	c.Verifier, c.Tries, c.Timeout = v, 0, time.Minute
	private(t, c, kdstest.Spec(t, kdstest.AppPolicy), kds.Storage)
	if v.asked < 2 {
		t.Errorf("asked %d times", v.asked)
	}
}

// A node that refuses for a while, and is being asked again when the time is up, has
// said why.
func TestRefusedThenSilent(t *testing.T) {
	k := kdstest.New(t, kdstest.Options{})
	busy := says(t, 503, `{"reason":"no audit"}`)
	c := k.Client(t, kdstest.Sim(t, kdstest.AppBuild), busy.url)
	var asked atomic.Int64
	c.Tries, c.HTTP = 3, &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		if asked.Add(1) > 1 {
			return nil, os.ErrDeadlineExceeded
		}
		return http.DefaultTransport.RoundTrip(r)
	})}
	_, err := c.Private(ctx, kdstest.Spec(t, kdstest.AppPolicy), kds.Storage)
	wants(t, "then silent", err, kds.ErrRefused, "no audit; asked again: "+kds.ErrTimeout.Error())
	if asked.Load() != 3 || errors.Is(err, kds.ErrTimeout) || strings.Count(err.Error(), "asked again") != 1 {
		t.Errorf("asked %d times: %v", asked.Load(), err)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// What every node said is in the error; one that will never do is asked once.
func TestAllFail(t *testing.T) {
	k := kdstest.New(t, kdstest.Options{})
	page, busy := says(t, 200, `<html>`), says(t, 503, `{"reason":"no audit"}`)
	c := k.Client(t, kdstest.Sim(t, kdstest.AppBuild), page.url+","+busy.url+","+closedAddress(t))
	c.Tries = 3
	_, err := c.Private(ctx, kdstest.Spec(t, kdstest.AppPolicy), kds.Storage)
	for _, target := range []error{kds.ErrDamaged, kds.ErrRefused, kds.ErrUnreachable} {
		wants(t, "all fail", err, target, page.url+": ")
	}
	if page.asked.Load() != 1 || busy.asked.Load() != 3 {
		t.Errorf("the page was asked %d times, the busy node %d times", page.asked.Load(), busy.asked.Load())
	}
	cancelled, cancel := context.WithCancel(ctx)
	hanging := serves(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // only then the end of the connection is seen
		cancel()
		<-r.Context().Done()
	})
	c.URL = hanging.url + "," + busy.url
	if _, err := c.Private(cancelled, kdstest.Spec(t, kdstest.AppPolicy), kds.Storage); !errors.Is(err, context.Canceled) || busy.asked.Load() != 3 {
		t.Errorf("cancelled: %v", err)
	}
}

// A wait that a node asks for is kept to, but not longer than is left.
func TestRetryAfter(t *testing.T) {
	k := kdstest.New(t, kdstest.Options{})
	node := serves(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "86400")
		w.WriteHeader(http.StatusTooManyRequests)
		_ = json.NewEncoder(w).Encode(kds.Refusal{Reason: "later"})
	})
	c := k.Client(t, kdstest.Sim(t, kdstest.AppBuild), node.url)
	c.Tries, c.Timeout = 0, time.Second
	_, err := c.Private(ctx, kdstest.Spec(t, kdstest.AppPolicy), kds.Storage)
	var r *kds.RefusedError
	if !errors.As(err, &r) || r.RetryAfter != kds.MaxRetryAfter || node.asked.Load() != 1 {
		t.Errorf("asked %d times: %+v", node.asked.Load(), err)
	}
}

func TestParseURLs(t *testing.T) {
	all, err := kds.ParseURLs("http://a:1, https://b/kds")
	if err != nil || len(all) != 2 || all[1].String() != "https://b/kds" {
		t.Errorf("%v, %v", all, err)
	}
	for _, s := range []string{"", ",", "http://a,", "http://a,ftp://b", strings.Repeat("http://a,", kds.MaxURLs) + "http://a"} {
		if _, err := kds.ParseURLs(s); !errors.Is(err, kds.ErrURL) {
			t.Errorf("%.40q: %v", s, err)
		}
	}
}
