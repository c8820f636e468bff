package mail_test

import (
	"bytes"
	"context"
	"crypto/hpke"
	"fmt"
	"io"
	"log"
	"strings"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/mail"
	"github.com/coffer-fs/coffer/kds/policy"
	"github.com/coffer-fs/coffer/key"
)

// standIn stands for a KDS. Real clients use kds.Client, whose Public gives the
// public key and which, as From of mail.Keys, gives enclaves the private one.
type standIn struct{ master key.Key }

func (s standIn) Release(_ context.Context, spec kds.Spec, p kds.Purpose, _ kds.Generation) (kds.Released, error) {
	return kds.Released{Key: kds.Derive(s.master, 1, spec, p), Generation: 1}, nil
}

func (s standIn) Public(_ context.Context, spec kds.Spec, p kds.Purpose) (hpke.PublicKey, error) {
	sk, err := kds.KeyPair(kds.Derive(s.master, 1, spec, p))
	if err != nil {
		return nil, err
	}
	return sk.PublicKey(), nil
}

func Example() {
	service := standIn{key.New()}
	ctx := context.Background()
	check := func(err error) {
		if err != nil {
			log.Fatal(err)
		}
	}

	// The client says who may read, and posts.
	who, err := policy.Parse("S:" + strings.Repeat("B4", 32) + " PROD:1 SEC:STALE")
	check(err)
	spec := kds.Spec{Name: "orders", MasterKeyType: kds.Cluster, PolicyConstraint: who}
	public, err := service.Public(ctx, spec, kds.Mail)
	check(err)
	me := mail.NewIdentity()
	office := &mail.PostOffice{From: me, To: spec, Key: public, Topic: "orders"}
	var letter bytes.Buffer
	_, err = office.Post(&letter, strings.NewReader("two of them"), mail.Options{Envelope: []byte("queue 7")})
	check(err)

	// The host sees where it goes.
	header, err := mail.ReadHeader(bytes.NewReader(letter.Bytes()))
	check(err)
	fmt.Printf("host: %s, %s\n", header.Topic, header.Envelope)

	// The enclave reads it and answers.
	opened, err := mail.Open(ctx, &letter, &mail.Keys{From: service})
	check(err)
	body, err := io.ReadAll(opened.Body)
	check(err)
	fmt.Printf("enclave: %s, from me: %t\n", body, opened.Sender.Equal(me.PublicKey()))
	var reply bytes.Buffer
	check(opened.Reply(&reply, strings.NewReader("on their way"), mail.ReplyOptions{}))

	// The client reads the answer.
	answer, err := mail.OpenReply(&reply, me, public)
	check(err)
	body, err = io.ReadAll(answer.Body)
	check(err)
	fmt.Printf("client: %s\n", body)
	// Output:
	// host: orders, queue 7
	// enclave: two of them, from me: true
	// client: on their way
}
