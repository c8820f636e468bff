// Package kds gets keys from a Key Derivation Service.
//
// A Spec names a key and says who may have it. The KDS derives the key from its
// master key and the spec, so the same spec gives the same key on every node for
// ever; it answers only to an enclave whose evidence meets the spec's policy.
// The Client asks through a network that may be hostile in every way.
//
// It promises that a key is used only if an enclave that meets the client's own
// constraint signed it as the answer to this very request; and that whatever
// goes wrong is one of the errors in errors.go. It refuses answers for another
// spec, evidence of simulated nodes in release mode, and everything larger than
// its limits. The bytes that are hashed, signed and sent are tables in
// docs/protocol.md.
//
// Imported by package coffer, by config, by migrate and by the packages below
// it. Imports key, kds/attest and kds/policy; never store.
package kds

import (
	"fmt"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/coffer-fs/coffer/kds/policy"
)

// EnclavePersistence is the name of the key that a volume is sealed with.
const EnclavePersistence = "EnclavePersistence"

// Limits of the protocol.
const (
	// MaxNameBytes is the longest name of a spec.
	MaxNameBytes = 255
	// MaxRequestBytes is the largest body of a request.
	MaxRequestBytes = 128 << 10
	// MaxAnswerBytes is the largest body of an answer.
	MaxAnswerBytes = 128 << 10
	// MaxReasonBytes is how much of a refusal's reason is kept.
	MaxReasonBytes = 1024
	// MaxRetryAfter is how long a node can make a client wait before it asks
	// again.
	MaxRetryAfter = 5 * time.Second
)

// MasterKeyType says which master key a spec's key is derived from.
type MasterKeyType string

// The master key types. The names are part of every derivation.
const (
	// Development: kept in a file by one node; never for release enclaves.
	Development MasterKeyType = "development"
	// Cluster: held by a cluster of nodes.
	Cluster MasterKeyType = "cluster"
	// AzureHSM: wrapped by a key in an Azure managed HSM.
	AzureHSM MasterKeyType = "azure_hsm"
	// PKCS11: wrapped by a key in an HSM that speaks PKCS #11.
	PKCS11 MasterKeyType = "pkcs11"
)

// Check refuses a type that is not one of the above.
func (t MasterKeyType) Check() error {
	switch t {
	case Development, Cluster, AzureHSM, PKCS11:
		return nil
	}
	return fmt.Errorf("%w: unknown master key type %q: it is development, cluster, azure_hsm or pkcs11", ErrSpec, t[:min(len(t), 40)])
}

// Purpose says what a key is for. Keys for different purposes have nothing in
// common.
type Purpose string

// The purposes. The names are part of every derivation.
const (
	// Storage: the secret that wraps a volume's keys.
	Storage Purpose = "storage"
	// Mail: the key pair that mail to a spec is encrypted to.
	Mail Purpose = "mail"
	// Handover: the key pair that an old enclave hands its volume over to.
	Handover Purpose = "handover"
	// Anchor: the secret that authenticates what is said to and by a volume's
	// anchor.
	Anchor Purpose = "anchor"
)

// Check refuses a purpose that is not one of the above.
func (p Purpose) Check() error {
	if _, ok := algorithms[p]; ok {
		return nil
	}
	return fmt.Errorf("%w: unknown purpose %q: it is storage, mail, handover or anchor", ErrSpec, p[:min(len(p), 40)])
}

// Generation numbers the master keys of one type, from 1. In a request, 0 asks
// for the current one.
type Generation uint32

// Spec names a key and says who may have it.
type Spec struct {
	Name             string            `json:"name"`
	MasterKeyType    MasterKeyType     `json:"masterKeyType"`
	PolicyConstraint policy.Constraint `json:"policyConstraint"`
}

// Check refuses a spec with a missing or impossible part.
func (s Spec) Check() error {
	if s.Name == "" || len(s.Name) > MaxNameBytes || !utf8.ValidString(s.Name) {
		return fmt.Errorf("%w: a name has 1 to %d bytes of UTF-8", ErrSpec, MaxNameBytes)
	}
	for _, r := range s.Name {
		if !unicode.IsPrint(r) {
			return fmt.Errorf("%w: name %q has a character that does not print", ErrSpec, s.Name)
		}
	}
	if err := s.MasterKeyType.Check(); err != nil {
		return err
	}
	if err := s.PolicyConstraint.Check(); err != nil {
		return fmt.Errorf("%w: %w", ErrSpec, err)
	}
	return nil
}

// Equal reports whether two specs name the same key: policies are compared in
// canonical form.
func (s Spec) Equal(o Spec) bool {
	return s.Name == o.Name && s.MasterKeyType == o.MasterKeyType &&
		s.PolicyConstraint.Canonical() == o.PolicyConstraint.Canonical()
}

// String is the spec on one line, with the policy in canonical form.
func (s Spec) String() string {
	return fmt.Sprintf("%s/%s/%s", s.Name, s.MasterKeyType, s.PolicyConstraint.Canonical())
}
