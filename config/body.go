package config

import (
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/coffer-fs/coffer/kds/attest"
)

var someHash = attest.Hash(strings.Repeat("0", 64))

// schema is the names that a block may hold.
type schema struct{ attributes, blocks []string }

// split sorts what a body holds, and refuses what it may not.
func (p *parser) split(b *hclsyntax.Body, s schema) (map[string]*hclsyntax.Attribute, map[string]*hclsyntax.Block) {
	attributes, blocks := map[string]*hclsyntax.Attribute{}, map[string]*hclsyntax.Block{}
	for name, a := range b.Attributes {
		switch {
		case slices.Contains(s.attributes, name):
			attributes[name] = a
		case slices.Contains(s.blocks, name):
			p.fail(a.NameRange, "%s is a block: write %s { ... }", name, name)
		default:
			p.unknown(name, a.NameRange, s)
		}
	}
	for _, k := range b.Blocks {
		switch {
		case slices.Contains(s.attributes, k.Type):
			p.fail(k.DefRange(), "%s is a value: write %s = ...", k.Type, k.Type)
		case !slices.Contains(s.blocks, k.Type):
			p.unknown(k.Type, k.DefRange(), s)
		case len(k.Labels) > 0:
			p.fail(k.DefRange(), "%s has no label", k.Type)
		case blocks[k.Type] != nil:
			p.fail(k.DefRange(), "%s is given twice", k.Type)
		default:
			blocks[k.Type] = k
		}
	}
	return attributes, blocks
}

// unknown names the name that was perhaps meant.
func (p *parser) unknown(name string, at hcl.Range, s schema) {
	known := slices.Concat(s.attributes, s.blocks)
	for _, right := range known {
		if closeTo(strings.ToLower(name), strings.ToLower(right)) {
			p.fail(at, "unknown name %q: did you mean %s?", name, right)
			return
		}
	}
	p.fail(at, "unknown name %q: here stand %s", name, strings.Join(known, ", "))
}

// closeTo reports whether at most two letters were changed, added or left out.
func closeTo(a, b string) bool {
	row := make([]int, len(b)+1) // distances of a prefix of a to all prefixes of b
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = min(diagonal, row[j], row[j+1]) + 1
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)] <= 2
}

// text is a string that must be there.
func (p *parser) text(of map[string]*hclsyntax.Attribute, name string, in *hclsyntax.Block) (string, bool) {
	a := of[name]
	if a == nil {
		p.fail(in.DefRange(), "%s: %s %v", in.Type, name, errMissingValue)
		return "", false
	}
	v, ok := p.value(a)
	if ok && v.Type() != cty.String {
		p.fail(a.Expr.Range(), "%s is a text in quotes", name)
		ok = false
	}
	if !ok {
		return "", false
	}
	return v.AsString(), true
}

// flag is true or false, and false if it is not there.
func (p *parser) flag(a *hclsyntax.Attribute) bool {
	if a == nil {
		return false
	}
	v, ok := p.value(a)
	if ok && v.Type() != cty.Bool {
		p.fail(a.Expr.Range(), "%s is true or false", a.Name)
		ok = false
	}
	return ok && v.True()
}

// size sets a size if it is there.
func (p *parser) size(a *hclsyntax.Attribute, to *int64) {
	if a == nil || !p.once(a.Name, a.NameRange) {
		return
	}
	v, ok := p.value(a)
	if !ok {
		return
	}
	text := ""
	switch v.Type() {
	case cty.String:
		text = v.AsString()
	case cty.Number:
		n, accuracy := v.AsBigFloat().Int64()
		if text = strconv.FormatInt(n, 10); accuracy != big.Exact {
			text = "not whole" // refused below
		}
	default:
		p.fail(a.Expr.Range(), "%s is a size such as \"64m\"", a.Name)
		return
	}
	n, err := ParseSize(text)
	if err == nil && n != 0 && (n < MinFileSystemSize || n > MaxFileSystemSize) {
		err = fmt.Errorf("%w %q: it is 0 (off) or from 8m to 8t", ErrSize, text)
	}
	if err != nil {
		p.fail(a.Expr.Range(), "%s: %v", a.Name, err)
		return
	}
	*to = n
}

// value is a constant: there are no variables, no functions and no loops, which a
// short text could make endless.
func (p *parser) value(a *hclsyntax.Attribute) (cty.Value, bool) {
	loops := false
	_ = hclsyntax.VisitAll(a.Expr, func(n hclsyntax.Node) hcl.Diagnostics {
		_, isFor := n.(*hclsyntax.ForExpr)
		loops = loops || isFor
		return nil
	})
	if loops {
		p.fail(a.Expr.Range(), "%s is not a plain value", a.Name)
		return cty.NilVal, false
	}
	v, diags := a.Expr.Value(nil)
	if diags.HasErrors() || v.IsNull() || !v.IsWhollyKnown() {
		p.fail(a.Expr.Range(), "%s is not a plain value", a.Name)
		return cty.NilVal, false
	}
	return v, true
}
