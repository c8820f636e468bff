//go:build pkcs11 && cgo

package pkcs11

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ThalesGroup/crypto11"
	p11 "github.com/miekg/pkcs11"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/internal/secretfile"
	"github.com/coffer-fs/coffer/kds/master/wrapped"
	"github.com/coffer-fs/coffer/key"
)

// Built reports whether the program is built with PKCS #11.
const Built = true

const (
	keyBits     = 256
	idSize      = 16
	nonceSize   = 12
	tagSize     = 16
	maxSessions = 4
	sessionWait = 10 * time.Second
)

// KEK is a key in an HSM.
type KEK struct {
	c *crypto11.Context
	o Options
}

var _ wrapped.KEK = (*KEK)(nil)

// Open opens a session with the HSM.
func Open(o Options) (*KEK, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	pin, err := secretfile.Line(o.PINFile, MaxPINBytes)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPINFile, err)
	}
	defer clear(pin)
	c, err := crypto11.Configure(&crypto11.Config{Path: o.Module, TokenLabel: o.Token, Pin: string(pin),
		MaxSessions: maxSessions, PoolWaitTimeout: sessionWait, GCMIVLength: nonceSize})
	if err != nil {
		return nil, fmt.Errorf("open token %q: %w", o.Token, judge(err, ErrModule))
	}
	return &KEK{c: c, o: o}, nil
}

// Close ends the session.
func (k *KEK) Close() error { return k.c.Close() }

// Kind implements wrapped.KEK.
func (k *KEK) Kind() kds.MasterKeyType { return kds.PKCS11 }

// Current implements wrapped.KEK. It makes the key if the token has none of its
// label.
func (k *KEK) Current(context.Context) (string, error) {
	found, err := k.c.FindKeys(nil, []byte(k.o.Key))
	if err != nil {
		return "", fmt.Errorf("find key %q: %w", k.o.Key, judge(err, ErrToken))
	}
	if len(found) == 0 {
		id := make([]byte, idSize)
		rand.Read(id)
		if _, err := k.c.GenerateSecretKeyWithLabel(id, []byte(k.o.Key), keyBits, crypto11.CipherAES); err != nil {
			return "", fmt.Errorf("make key %q in the HSM: %w", k.o.Key, judge(err, ErrKey))
		}
	}
	_, id, err := k.find()
	return id, err
}

// find is the key of the label, if it is one to be used, and its CKA_ID.
func (k *KEK) find() (*crypto11.SecretKey, string, error) {
	found, err := k.c.FindKeys(nil, []byte(k.o.Key))
	switch {
	case err != nil:
		return nil, "", fmt.Errorf("find key %q: %w", k.o.Key, judge(err, ErrToken))
	case len(found) == 0:
		return nil, "", fmt.Errorf("%w: token %q has no secret key %q", ErrKey, k.o.Token, k.o.Key)
	case len(found) > 1:
		return nil, "", fmt.Errorf("%w: token %q has %d keys %q: which of them is not said", ErrKey, k.o.Token, len(found), k.o.Key)
	}
	for _, want := range []struct {
		attribute crypto11.AttributeType
		value     any
		text      string
	}{
		{crypto11.CkaKeyType, uint(p11.CKK_AES), "is not an AES key"},
		{crypto11.CkaValueLen, uint(keyBits / 8), "does not have 256 bits"},
		{crypto11.CkaSensitive, true, "is not sensitive: the HSM would tell it"},
		{crypto11.CkaExtractable, false, "can be taken out of the HSM"},
	} {
		got, err := k.attribute(found[0], want.attribute)
		if err != nil {
			return nil, "", err
		}
		if string(got) != string(p11.NewAttribute(uint(want.attribute), want.value).Value) {
			return nil, "", fmt.Errorf("%w: key %q %s", ErrKey, k.o.Key, want.text)
		}
	}
	id, err := k.attribute(found[0], crypto11.CkaId)
	if err != nil {
		return nil, "", err
	}
	if len(id) == 0 || len(id) > wrapped.MaxIDBytes/2 {
		return nil, "", fmt.Errorf("%w: key %q has no CKA_ID, by which records name it", ErrKey, k.o.Key)
	}
	return found[0], hex.EncodeToString(id), nil
}

// attribute is what the HSM says of its key.
func (k *KEK) attribute(sk *crypto11.SecretKey, t crypto11.AttributeType) ([]byte, error) {
	a, err := k.c.GetAttribute(sk, t)
	if err != nil {
		return nil, fmt.Errorf("read attribute %#x of key %q: %w", uint(t), k.o.Key, judge(err, ErrKey))
	}
	if a == nil {
		return nil, fmt.Errorf("%w: the HSM has no attribute %#x of key %q", ErrKey, uint(t), k.o.Key)
	}
	return a.Value, nil
}

// exactly is the key with an ID.
func (k *KEK) exactly(id string) (*crypto11.SecretKey, error) {
	sk, is, err := k.find()
	if err != nil {
		return nil, err
	}
	if is != id {
		return nil, fmt.Errorf("%w: the HSM's key %q has the ID %s, and %.64q wrapped it", wrapped.ErrUnwrap, k.o.Key, is, id)
	}
	return sk, nil
}

// Wrap implements wrapped.KEK: nonce, then AES-GCM.
func (k *KEK) Wrap(_ context.Context, id string, mk key.Key, aad []byte) (out []byte, err error) {
	sk, err := k.exactly(id)
	if err != nil {
		return nil, err
	}
	aead, err := sk.NewGCM()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	defer func() { // crypto11 panics where cipher.AEAD has no error
		if r := recover(); r != nil {
			out, err = nil, fmt.Errorf("wrap by key %q: %w", k.o.Key, judge(fmt.Errorf("%v", r), ErrKey))
		}
	}()
	nonce := make([]byte, nonceSize)
	rand.Read(nonce)
	out = aead.Seal(nonce, nonce, mk.Bytes(), aad)
	if len(out) != nonceSize+key.Size+tagSize {
		return nil, fmt.Errorf("%w: the HSM wraps %d bytes as %d", ErrKey, key.Size, len(out))
	}
	return out, nil
}

// Unwrap implements wrapped.KEK.
func (k *KEK) Unwrap(_ context.Context, id string, b, aad []byte) (key.Key, error) {
	sk, err := k.exactly(id)
	if err != nil {
		return key.Key{}, err
	}
	aead, err := sk.NewGCM()
	if err != nil {
		return key.Key{}, fmt.Errorf("%w: %w", ErrKey, err)
	}
	if len(b) != nonceSize+key.Size+tagSize {
		return key.Key{}, fmt.Errorf("%w: it has %d bytes", wrapped.ErrUnwrap, len(b))
	}
	plain, err := aead.Open(nil, b[:nonceSize], b[nonceSize:], aad)
	if err != nil {
		return key.Key{}, judge(err, wrapped.ErrUnwrap)
	}
	defer clear(plain)
	return key.FromBytes(plain)
}

// judge says which error of ours one of the module's is. Some come as text only.
func judge(err error, otherwise error) error {
	for _, known := range []struct {
		codes []string
		is    error
	}{
		{[]string{"CKR_PIN_LOCKED"}, ErrLocked},
		{[]string{"CKR_PIN_INCORRECT", "CKR_PIN_INVALID", "CKR_PIN_LEN_RANGE", "CKR_PIN_EXPIRED", "CKR_USER_PIN_NOT_INITIALIZED"}, ErrPIN},
		{[]string{"could not find PKCS#11 token", "CKR_DEVICE_REMOVED", "CKR_DEVICE_ERROR", "CKR_TOKEN_NOT_PRESENT", "CKR_TOKEN_NOT_RECOGNIZED", "CKR_SESSION_HANDLE_INVALID", "CKR_SLOT_ID_INVALID"}, ErrToken},
		{[]string{"failed to open module", "failed to initialize module"}, ErrModule},
	} {
		for _, code := range known.codes {
			if strings.Contains(err.Error(), code) {
				return fmt.Errorf("%w: %w", known.is, err)
			}
		}
	}
	if errors.Is(err, otherwise) {
		return err
	}
	return fmt.Errorf("%w: %w", otherwise, err)
}
