package mail_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/kdstest"
	"github.com/coffer-fs/coffer/kds/mail"
	"github.com/coffer-fs/coffer/key"
)

// counter is a KDS that counts. Its keys depend on name and generation.
type counter struct {
	mu      sync.Mutex
	current kds.Generation
	asked   []string
	err     error
}

func (c *counter) Release(_ context.Context, s kds.Spec, p kds.Purpose, g kds.Generation) (kds.Released, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked = append(c.asked, fmt.Sprintf("%s %s %d", s.Name, p, g))
	if g == 0 {
		g = c.current
	}
	return kds.Released{Key: derived(s.Name, g), Generation: g}, c.err
}

func (c *counter) count() int { c.mu.Lock(); defer c.mu.Unlock(); return len(c.asked) }

func derived(name string, g kds.Generation) key.Key {
	k, err := key.FromBytes([]byte("a master key that is no secret.."))
	if err != nil {
		panic(err)
	}
	return k.Derive(nil, fmt.Sprintf("%s %d", name, g))
}

// to is an office for the key of a name and a generation.
func to(t testing.TB, name string, g kds.Generation) *mail.PostOffice {
	t.Helper()
	sk, err := kds.KeyPair(derived(name, g))
	must(t, err)
	o := office(t, sk)
	o.To.Name = name
	return o
}

func TestKeysAreKept(t *testing.T) {
	c := &counter{current: 1}
	keys := &mail.Keys{From: c, Most: 2}
	for i, step := range []struct {
		name string
		asks int
	}{{"a", 1}, {"a", 1}, {"b", 2}, {"a", 2}, {"c", 3}, {"a", 3}, {"b", 4}, {"c", 5}, {"b", 5}} {
		open(t, post(t, to(t, step.name, 1), "", mail.Options{}), keys)
		if got := c.count(); got != step.asks {
			t.Errorf("step %d: asked %d times, want %d", i, got, step.asks)
		}
	}
	if c.asked[0] != "a mail 0" {
		t.Errorf("asked for %q", c.asked[0])
	}
}

// The default and the most are limits, and the key that was not used for longest
// goes.
func TestKeysAreBounded(t *testing.T) {
	for most, kept := range map[int]int{0: mail.DefaultCachedKeys, -1: mail.DefaultCachedKeys, 5: 5, 5000: mail.MaxCachedKeys} {
		c := &counter{current: 1}
		keys := &mail.Keys{From: c, Most: most}
		spec := kdstest.Spec(t, kdstest.AppPolicy)
		known := map[int]mail.Fingerprint{}
		ask := func(i int) {
			spec.Name = fmt.Sprint("name ", i)
			if _, ok := known[i]; !ok {
				sk, err := kds.KeyPair(derived(spec.Name, 1))
				must(t, err)
				known[i] = mail.FingerprintOf(sk.PublicKey())
			}
			_, err := keys.MailKey(ctx, spec, 0, known[i])
			must(t, err)
		}
		for i := range kept + 1 {
			ask(i)
		}
		for i := range kept {
			ask(i + 1)
		}
		if got := c.count(); got != kept+1 {
			t.Errorf("most %d: asked %d times, want %d: not all of %d are kept", most, got, kept+1, kept)
		}
		if ask(0); c.count() != kept+2 {
			t.Errorf("most %d: more than %d are kept", most, kept)
		}
	}
}

// Mail that was posted before the master key was rotated still opens.
func TestOlderGenerations(t *testing.T) {
	c := &counter{current: 6}
	keys := &mail.Keys{From: c}
	for g, asks := range map[kds.Generation]int{6: 1, 5: 2, 4: 3, 3: 4} {
		before := c.count()
		b := post(t, to(t, "a", g), "", mail.Options{})
		open(t, b, keys)
		if got := c.count() - before; got != asks {
			t.Errorf("generation %d: asked %d times, want %d", g, got, asks)
		}
		if open(t, b, keys); c.count()-before != asks {
			t.Errorf("generation %d is not kept", g)
		}
	}
	b := post(t, to(t, "a", 2), "", mail.Options{})
	_, err := mail.Open(ctx, strings.NewReader(string(b)), keys)
	wants(t, "too old", err, mail.ErrOtherKey, "open letter: no key for the mail")

	named := to(t, "a", 2)
	named.Generation = 2
	before := c.count()
	if l := open(t, post(t, named, "", mail.Options{}), keys); l.Generation != 2 || c.count() != before+1 {
		t.Errorf("a letter that names its generation: asked %d times", c.count()-before)
	}
}

// A letter that names one spec and is encrypted to the key of another is
// refused, even if that key is at hand.
func TestKeyOfAnotherSpec(t *testing.T) {
	c := &counter{current: 1}
	keys := &mail.Keys{From: c}
	open(t, post(t, to(t, "a", 1), "", mail.Options{}), keys)
	lying := to(t, "a", 1)
	lying.To.Name = "b"
	_, err := mail.Open(ctx, strings.NewReader(string(post(t, lying, "", mail.Options{}))), keys)
	wants(t, "the key of a under the name of b", err, mail.ErrOtherKey, "is not the key of b/")
	lying = to(t, "a", 1)
	lying.Generation = 2
	_, err = mail.Open(ctx, strings.NewReader(string(post(t, lying, "", mail.Options{}))), keys)
	wants(t, "the key of another generation", err, mail.ErrOtherKey, "is not the key of a/")
}

func TestNoKey(t *testing.T) {
	c := &counter{current: 1, err: errors.New("the KDS said no")}
	keys := &mail.Keys{From: c}
	b := string(post(t, to(t, "a", 1), "", mail.Options{}))
	_, err := mail.Open(ctx, strings.NewReader(b), keys)
	wants(t, "refused", err, mail.ErrNoKey, "the KDS said no")
	wants(t, "refused", err, c.err, "open letter")
	c.err = nil
	open(t, []byte(b), keys)
}

// Keys and a PostOffice have many users; no sequence number is given twice.
func TestConcurrency(t *testing.T) {
	c := &counter{current: 1}
	keys, o := &mail.Keys{From: c, Most: 2}, to(t, "a", 1)
	others := []*mail.PostOffice{to(t, "b", 1), to(t, "c", 1)}
	var all sync.Map
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			l := open(t, post(t, o, "body", mail.Options{}), keys)
			if _, twice := all.LoadOrStore(l.Sequence, true); twice || readAll(t, l.Body) != "body" {
				t.Errorf("letter %d", l.Sequence)
			}
			for _, other := range others {
				open(t, post(t, other, "", mail.Options{}), keys)
			}
		})
	}
	wg.Wait()
}
