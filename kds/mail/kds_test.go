package mail_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/kdstest"
	"github.com/coffer-fs/coffer/kds/mail"
	"github.com/coffer-fs/coffer/kds/master"
)

// A client that has never seen the enclave posts to a policy. Each instance that
// meets it opens the letter and answers, before and after the KDS restarts; one
// that does not meet it gets nothing.
func TestWithKDS(t *testing.T) {
	dir := t.TempDir() // of the master key
	node := func() *kdstest.KDS {
		dev, err := master.OpenDevelopment(dir)
		must(t, err)
		return kdstest.New(t, kdstest.Options{Masters: []master.Provider{dev}})
	}
	k, later := node(), node()
	spec := kdstest.Spec(t, kdstest.AppPolicy)
	client := k.Client(t, nil, "")
	pk, err := client.Public(ctx, spec, kds.Mail)
	must(t, err)
	o := &mail.PostOffice{From: mail.NewIdentity(), To: spec, Key: pk}
	b := post(t, o, "to whom it may concern", mail.Options{})

	newer := kdstest.AppBuild
	newer.CodeHash = kdstest.Hash("C")
	for _, build := range []struct {
		name string
		keys *mail.Keys
	}{
		{"the enclave", &mail.Keys{From: k.Client(t, kdstest.Sim(t, kdstest.AppBuild), "")}},
		{"another instance", &mail.Keys{From: k.Client(t, kdstest.Sim(t, kdstest.AppBuild), "")}},
		{"an instance that asks the KDS after a restart", &mail.Keys{From: later.Client(t, kdstest.Sim(t, kdstest.AppBuild), "")}},
		{"a newer build", &mail.Keys{From: k.Client(t, kdstest.Sim(t, newer), "")}},
	} {
		l := open(t, b, build.keys)
		if got := readAll(t, l.Body); got != "to whom it may concern" || !l.Sender.Equal(o.From.PublicKey()) {
			t.Errorf("%s opened %q", build.name, got)
		}
		var w bytes.Buffer
		must(t, l.Reply(&w, strings.NewReader("from "+build.name), mail.ReplyOptions{}))
		r, err := mail.OpenReply(&w, o.From, pk)
		must(t, err)
		if got := readAll(t, r.Body); got != "from "+build.name {
			t.Errorf("the answer is %q", got)
		}
	}

	stranger := kdstest.AppBuild
	stranger.SignerHash = kdstest.Hash("F")
	_, err = mail.Open(ctx, bytes.NewReader(b), &mail.Keys{From: k.Client(t, kdstest.Sim(t, stranger), "")})
	wants(t, "another signer", err, mail.ErrNoKey, "S")
	wants(t, "another signer", err, kds.ErrRefused, "403")
}

// Keys for other purposes do not open mail, and another spelling of the policy
// is the same key.
func TestSpecOfMail(t *testing.T) {
	k := kdstest.New(t, kdstest.Options{})
	spec := kdstest.Spec(t, kdstest.AppPolicy)
	keys := &mail.Keys{From: k.Client(t, kdstest.Sim(t, kdstest.AppBuild), "")}
	handover, err := k.Client(t, nil, "").Public(ctx, spec, kds.Handover)
	must(t, err)
	o := &mail.PostOffice{From: mail.NewIdentity(), To: spec, Key: handover}
	_, err = mail.Open(ctx, bytes.NewReader(post(t, o, "", mail.Options{})), keys)
	wants(t, "the handover key", err, mail.ErrOtherKey, "")

	o.To = kdstest.Spec(t, "  SEC:INSECURE PROD:01  S:"+strings.ToLower(string(kdstest.AppBuild.SignerHash)))
	o.Key, err = k.Client(t, nil, "").Public(ctx, o.To, kds.Mail)
	must(t, err)
	if l := open(t, post(t, o, "", mail.Options{}), keys); !l.Spec.Equal(spec) {
		t.Errorf("the letter names %s", l.Spec)
	}
}
