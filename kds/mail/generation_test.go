package mail_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/kdstest"
	"github.com/coffer-fs/coffer/kds/mail"
	"github.com/coffer-fs/coffer/kds/master"
	"github.com/coffer-fs/coffer/key"
)

// rotated is a provider of master keys that can be rotated and retired.
type rotated struct {
	current, retired kds.Generation
}

func (m *rotated) Type() kds.MasterKeyType { return kds.Development }
func (m *rotated) Current() kds.Generation { return m.current }
func (m *rotated) Close() error            { return nil }

func (m *rotated) Key(_ context.Context, g kds.Generation) (key.Key, error) {
	if g > m.current || g <= m.retired {
		return key.Key{}, fmt.Errorf("%w: %d", master.ErrGeneration, g)
	}
	return derived("master", g), nil
}

// generations is a KDS that is rotated, an enclave and a client.
type generations struct {
	masters *rotated
	client  *kds.Client
	keys    func() *mail.Keys // of an instance that was just started
	me      mail.Identity
	spec    kds.Spec
}

func newGenerations(t *testing.T) *generations {
	m := &rotated{current: 1}
	k := kdstest.New(t, kdstest.Options{Masters: []master.Provider{m}})
	app := kdstest.Sim(t, kdstest.AppBuild)
	return &generations{masters: m, client: k.Client(t, nil, ""), me: mail.NewIdentity(), spec: kdstest.Spec(t, kdstest.AppPolicy),
		keys: func() *mail.Keys { return &mail.Keys{From: k.Client(t, app, "")} }}
}

// letter is posted to the current key, and says so if named.
func (g *generations) letter(t *testing.T, named bool) []byte {
	t.Helper()
	to, err := g.client.Publish(ctx, g.spec, kds.Mail, 0)
	must(t, err)
	o := &mail.PostOffice{From: g.me, To: g.spec, Key: to.Key}
	if named {
		o.Generation = to.Generation
	}
	return post(t, o, "question", mail.Options{})
}

// answer opens a letter in a new instance and answers it.
func (g *generations) answer(t *testing.T, letter []byte) []byte {
	t.Helper()
	l := open(t, letter, g.keys())
	if got := readAll(t, l.Body); got != "question" {
		t.Errorf("the letter is %q", got)
	}
	var w bytes.Buffer
	must(t, l.Reply(&w, strings.NewReader("answer"), mail.ReplyOptions{}))
	return w.Bytes()
}

func (g *generations) read(reply []byte) error {
	r, err := mail.OpenReplyFrom(ctx, bytes.NewReader(reply), g.me, g.client)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if _, err := b.ReadFrom(r.Body); err != nil {
		return err
	}
	if b.String() != "answer" {
		return fmt.Errorf("the reply is %q", &b)
	}
	return nil
}

// A letter to the first generation is opened and answered, and the answer is
// read, whenever between them the master key is rotated.
func TestRotationBetween(t *testing.T) {
	for _, named := range []bool{true, false} {
		for step := range 3 {
			g := newGenerations(t)
			rotate := func(at int) {
				if at == step {
					g.masters.current++
				}
			}
			letter := g.letter(t, named)
			rotate(0)
			l := open(t, letter, g.keys())
			if want := map[bool]kds.Generation{true: 1}[named]; l.Generation != want {
				t.Errorf("the letter names generation %d, want %d", l.Generation, want)
			}
			rotate(1)
			reply := g.answer(t, letter)
			rotate(2)
			if err := g.read(reply); err != nil {
				t.Errorf("named %v, rotated at step %d: %v", named, step, err)
			}
		}
	}
}

// Without a generation three older ones are tried, for letters and for replies,
// and no more; with one there is no limit but that it is retired.
func TestThreeOlderGenerations(t *testing.T) {
	g := newGenerations(t)
	unnamed, named := g.letter(t, false), g.letter(t, true)
	g.masters.current += mail.MaxOlderGenerations
	unnamedReply, namedReply := g.answer(t, unnamed), g.answer(t, named)
	must(t, g.read(unnamedReply))

	g.masters.current++
	_, err := mail.Open(ctx, bytes.NewReader(unnamed), g.keys())
	wants(t, "a letter, four generations older", err, mail.ErrOtherKey, "is not the key of")
	wants(t, "a reply, four generations older", g.read(unnamedReply), mail.ErrDamaged, "chunk 0")
	g.answer(t, named)
	must(t, g.read(namedReply))

	g.masters.retired = 1
	_, err = mail.Open(ctx, bytes.NewReader(named), g.keys())
	wants(t, "a letter of a retired generation", err, mail.ErrNoKey, "404")
	wants(t, "a reply of a retired generation", g.read(namedReply), mail.ErrNoKey, "404")
}

// publisher counts what it is asked.
type publisher struct {
	mail.Publisher
	asked []kds.Generation
}

func (p *publisher) Publish(ctx context.Context, s kds.Spec, u kds.Purpose, g kds.Generation) (kds.Published, error) {
	p.asked = append(p.asked, g)
	return p.Publisher.Publish(ctx, s, u, g)
}

// A reply that cannot be read costs a bounded number of questions, and a stream
// that breaks is no reason to ask for more keys.
func TestReplyAsksFew(t *testing.T) {
	g := newGenerations(t)
	reply := g.answer(t, g.letter(t, false))
	g.masters.current = 9
	broken := errors.New("the wire broke")
	for _, c := range []struct {
		what string
		end  error
		want string
		err  error
	}{
		{"too old", io.EOF, "[0 8 7 6]", mail.ErrDamaged},
		{"broken", broken, "[0]", broken},
	} {
		p := &publisher{Publisher: g.client}
		_, err := mail.OpenReplyFrom(ctx, io.MultiReader(bytes.NewReader(reply), iotest.ErrReader(c.end)), g.me, p)
		wants(t, c.what, err, c.err, "open reply")
		if got := fmt.Sprint(p.asked); got != c.want {
			t.Errorf("%s: asked for %s, want %s", c.what, got, c.want)
		}
	}
}

// Who could open one letter, such as the thief of an older key, cannot answer
// another, whatever generation his reply names.
func TestForgedGeneration(t *testing.T) {
	g := newGenerations(t)
	old := open(t, g.letter(t, true), g.keys())
	g.masters.current = 2
	h, err := mail.ReadHeader(bytes.NewReader(g.letter(t, true)))
	must(t, err)
	for _, named := range []kds.Generation{0, 1, 2} {
		forged := *old
		forged.ID, forged.Generation = h.ID, named
		var w bytes.Buffer
		must(t, forged.Reply(&w, strings.NewReader("answer"), mail.ReplyOptions{}))
		wants(t, fmt.Sprint("named ", named), g.read(w.Bytes()), mail.ErrDamaged, "chunk 0")
	}
}
