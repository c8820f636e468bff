// Package keyfile keeps the keys of people in files: an operator's, who signs
// what all nodes do, a custodian's, who holds shares of master keys, and that of
// whoever signs upgrade tickets.
//
// It promises that a key is made once and never overwritten, that others than
// its owner cannot read it, and that a damaged file is an error. The files
// belong on the person's own machine, never on one that runs a node.
//
// Imported by the commands. Imports kds/internal.
package keyfile

import (
	"crypto/ed25519"
	"crypto/hpke"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"

	"github.com/coffer-fs/coffer/kds/internal/secretfile"
)

var (
	// ErrDamaged: the file is not a key file of that kind.
	ErrDamaged = secretfile.ErrDamaged
	// ErrPermissions: others than its owner may read the file.
	ErrPermissions = secretfile.ErrPermissions
)

const (
	operatorTitle  = "coffer operator key, version 1: whoever reads this file can act as the operator"
	ticketTitle    = "coffer ticket key, version 1: whoever reads this file can sign upgrade tickets"
	custodianTitle = "coffer custodian key, version 1: whoever reads this file has this custodian's share"
	seedSize       = 32
)

// Operator reads an operator's key, which "coffer-kds orders key" makes.
func Operator(path string) (ed25519.PrivateKey, error) {
	seed, err := secretfile.Load(path, operatorTitle, seedSize)
	if err != nil {
		return nil, fmt.Errorf("read operator key: %w", err)
	}
	defer clear(seed)
	return ed25519.NewKeyFromSeed(seed), nil
}

// NewTicket makes a key for upgrade tickets in path, and returns the public key.
func NewTicket(path string) (ed25519.PublicKey, error) {
	if err := create(path, ticketTitle); err != nil {
		return nil, fmt.Errorf("make ticket key: %w", err)
	}
	k, err := Ticket(path)
	if err != nil {
		return nil, err
	}
	return k.Public().(ed25519.PublicKey), nil
}

// Ticket reads a key for upgrade tickets.
func Ticket(path string) (ed25519.PrivateKey, error) {
	seed, err := secretfile.Load(path, ticketTitle, seedSize)
	if err != nil {
		return nil, fmt.Errorf("read ticket key: %w", err)
	}
	defer clear(seed)
	return ed25519.NewKeyFromSeed(seed), nil
}

// NewCustodian makes a custodian's key in path, unless there is one, and returns its
// public text.
func NewCustodian(path string) (string, error) {
	if err := create(path, custodianTitle); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("make custodian key: %w", err)
	}
	k, err := Custodian(path)
	if err != nil {
		return "", err
	}
	return base64.StdEncoding.EncodeToString(k.PublicKey().Bytes()), nil
}

// Custodian reads a custodian's key.
func Custodian(path string) (hpke.PrivateKey, error) {
	seed, err := secretfile.Load(path, custodianTitle, seedSize)
	if err != nil {
		return nil, fmt.Errorf("read custodian key: %w", err)
	}
	defer clear(seed)
	return hpke.MLKEM768X25519().NewPrivateKey(seed)
}

func create(path, title string) error {
	seed := make([]byte, seedSize)
	rand.Read(seed)
	defer clear(seed)
	return secretfile.Create(path, title, seed)
}
