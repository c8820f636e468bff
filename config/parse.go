package config

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/policy"
)

// The names of the configuration, by block.
var (
	topSchema       = schema{attributes: []string{"persistentFileSystemSize", "inMemoryFileSystemSize"}, blocks: []string{"kds", "anchor", "upgrade", "conclave"}}
	conclaveSchema  = schema{attributes: topSchema.attributes, blocks: []string{"kds", "anchor", "upgrade"}}
	kdsSchema       = schema{attributes: []string{"kdsEnclaveConstraint"}, blocks: []string{"persistenceKeySpec", "keySpec"}}
	keySpecSchema   = schema{attributes: []string{"masterKeyType"}, blocks: []string{"policyConstraint"}}
	policySchema    = schema{attributes: []string{"constraint", "useOwnCodeHash", "useOwnCodeSignerAndProductID"}}
	errMissingValue = errors.New("is required")
)

// Parse reads a configuration. The name is shown in errors.
func Parse(name string, src []byte) (c *Config, warnings []string, err error) {
	if len(src) > MaxBytes {
		return nil, nil, fmt.Errorf("%w: %q is larger than %d bytes", ErrInvalid, name, MaxBytes)
	}
	file, diags := hclsyntax.ParseConfig(src, name, hcl.InitialPos)
	if diags.HasErrors() {
		return nil, nil, fmt.Errorf("%w: %w", ErrInvalid, diags)
	}
	p := parser{c: &Config{InMemoryFileSystemSize: DefaultInMemoryFileSystemSize, raw: bytes.Clone(src)}}
	p.top(file.Body.(*hclsyntax.Body))
	p.anchorFits()
	if len(p.errs) > 0 {
		return nil, nil, fmt.Errorf("%w: %w", ErrInvalid, errors.Join(p.errs...))
	}
	return p.c, p.warnings, nil
}

// parser collects what is wrong, so that one reading tells all of it.
type parser struct {
	c        *Config
	warnings []string
	errs     []error
	seen     map[string]bool // settings given, in or out of a conclave block
}

func (p *parser) fail(at hcl.Range, format string, args ...any) {
	p.errs = append(p.errs, fmt.Errorf("%s: %s", at, fmt.Sprintf(format, args...)))
}

func (p *parser) warn(at hcl.Range, format string, args ...any) {
	p.warnings = append(p.warnings, fmt.Sprintf("%s: %s", at, fmt.Sprintf(format, args...)))
}

// top reads the file, whose settings may stand in a conclave block.
func (p *parser) top(b *hclsyntax.Body) {
	p.seen = map[string]bool{}
	blocks := p.settings(b, topSchema)
	if conclave := blocks["conclave"]; conclave != nil {
		p.settings(conclave.Body, conclaveSchema)
	}
}

func (p *parser) settings(b *hclsyntax.Body, s schema) map[string]*hclsyntax.Block {
	attributes, blocks := p.split(b, s)
	p.size(attributes["persistentFileSystemSize"], &p.c.PersistentFileSystemSize)
	p.size(attributes["inMemoryFileSystemSize"], &p.c.InMemoryFileSystemSize)
	if a := blocks["anchor"]; a != nil && p.once("anchor", a.DefRange()) {
		p.c.Anchor = p.anchor(a)
	}
	if u := blocks["upgrade"]; u != nil && p.once("upgrade", u.DefRange()) {
		p.c.Upgrade = p.upgrade(u)
	}
	if k := blocks["kds"]; k != nil && p.once("kds", k.DefRange()) {
		p.c.KDS = p.kds(k)
	}
	return blocks
}

// once refuses what is given in and out of a conclave block.
func (p *parser) once(name string, at hcl.Range) bool {
	if p.seen[name] {
		p.fail(at, "%s is given twice", name)
		return false
	}
	p.seen[name] = true
	return true
}

func (p *parser) kds(b *hclsyntax.Block) *KDS {
	attributes, blocks := p.split(b.Body, kdsSchema)
	k := &KDS{}
	if text, ok := p.text(attributes, "kdsEnclaveConstraint", b); ok {
		var err error
		if k.EnclaveConstraint, err = policy.Parse(text); err != nil {
			p.fail(attributes["kdsEnclaveConstraint"].Expr.Range(), "kdsEnclaveConstraint: %v", err)
		}
	}
	spec, old := blocks["persistenceKeySpec"], blocks["keySpec"]
	if old != nil {
		p.warn(old.DefRange(), "keySpec is the old name of persistenceKeySpec")
	}
	switch {
	case spec != nil && old != nil:
		p.fail(old.DefRange(), "persistenceKeySpec is given twice: keySpec is its old name")
	case spec != nil:
		k.PersistenceKeySpec = p.keySpec(spec)
	case old != nil:
		k.PersistenceKeySpec = p.keySpec(old)
	}
	return k
}

func (p *parser) keySpec(b *hclsyntax.Block) *KeySpec {
	attributes, blocks := p.split(b.Body, keySpecSchema)
	s := &KeySpec{}
	if text, ok := p.text(attributes, "masterKeyType", b); ok {
		s.MasterKeyType = kds.MasterKeyType(text)
		if err := s.MasterKeyType.Check(); err != nil {
			p.fail(attributes["masterKeyType"].Expr.Range(), "%v", err)
		}
	}
	if c := blocks["policyConstraint"]; c != nil {
		p.policy(c, s)
	} else {
		p.fail(b.DefRange(), "%s: policyConstraint %v", b.Type, errMissingValue)
	}
	return s
}

func (p *parser) policy(b *hclsyntax.Block, s *KeySpec) {
	attributes, _ := p.split(b.Body, policySchema)
	s.Own.CodeHash = p.flag(attributes["useOwnCodeHash"])
	s.Own.SignerAndProductID = p.flag(attributes["useOwnCodeSignerAndProductID"])
	text, ok := p.text(attributes, "constraint", b)
	if !ok {
		return
	}
	s.Constraint = text
	if err := completes(text, s.Own); err != nil {
		p.fail(attributes["constraint"].Expr.Range(), "constraint: %v", err)
	}
	if s.Own.CodeHash && s.Own.SignerAndProductID {
		p.warn(b.DefRange(), "useOwnCodeHash and useOwnCodeSignerAndProductID together admit every build of the signer and product: the code hash adds nothing")
	}
}

// completes tries the template with an enclave that fits it.
func completes(template string, own policy.Own) error {
	t, err := policy.ParseTemplate(template)
	if err != nil {
		return err
	}
	product, _ := t.ProductID()
	_, err = policy.Expand(template, own, attest.Identity{CodeHash: someHash, SignerHash: someHash, ProductID: product})
	return err
}
