package config

import (
	"encoding/hex"
	"errors"
	"path/filepath"
	"time"

	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// AnchorType says where it is remembered how far the volume has come.
type AnchorType string

// The anchors.
const (
	// AnchorKDS: in the KDS, as a record of the persistence key spec.
	AnchorKDS AnchorType = "kds"
	// AnchorFile: in a directory on a disk that is trusted.
	AnchorFile AnchorType = "file"
	// AnchorNone: nowhere, and no longer if the volume had an anchor.
	AnchorNone AnchorType = "none"
)

// The policies that are no time between two words to the anchor.
const (
	EveryFsync time.Duration = 0
	AtClose    time.Duration = -1
)

// Limits of a policy that is a time.
const (
	MinAnchorEvery = time.Millisecond
	MaxAnchorEvery = time.Hour
)

// Anchor is the anchor block. It is measured, so that the host can't leave it
// out.
type Anchor struct {
	Type AnchorType
	// Every is EveryFsync, AtClose, or the time between two words to the anchor.
	Every time.Duration
	// Path is the directory of AnchorFile, absolute.
	Path string
	// Approve lets a volume be opened, once, that the anchor speaks against.
	Approve [32]byte
}

var errAnchorNeedsSpec = errors.New("an anchor of type kds needs a kds block with a persistenceKeySpec")

var anchorSchema = schema{attributes: []string{"type", "policy", "path", "approve"}}

func (p *parser) anchor(b *hclsyntax.Block) *Anchor {
	attributes, _ := p.split(b.Body, anchorSchema)
	a := &Anchor{}
	if text, ok := p.text(attributes, "type", b); ok {
		a.Type = AnchorType(text)
	}
	switch a.Type {
	case AnchorKDS, AnchorFile:
		if text, ok := p.text(attributes, "policy", b); ok {
			p.anchorPolicy(attributes["policy"], text, &a.Every)
		}
	case AnchorNone:
		for _, name := range []string{"policy", "path", "approve"} {
			if at := attributes[name]; at != nil {
				p.fail(at.NameRange, "anchor: %s is for another type than none", name)
			}
		}
		return a
	case "":
		return a
	default:
		p.fail(attributes["type"].Expr.Range(), "anchor: type is kds, file or none")
		return a
	}
	p.anchorPath(b, attributes["path"], a)
	if at := attributes["approve"]; at != nil {
		if text, ok := p.text(attributes, "approve", b); ok {
			code, err := hex.DecodeString(text)
			if err != nil || copy(a.Approve[:], code) != len(a.Approve) || len(code) != len(a.Approve) {
				p.fail(at.Expr.Range(), "anchor: approve is what coffer anchor show printed, 64 hexadecimal digits")
			}
		}
	}
	return a
}

func (p *parser) anchorPath(b *hclsyntax.Block, at *hclsyntax.Attribute, a *Anchor) {
	switch {
	case a.Type != AnchorFile && at != nil:
		p.fail(at.NameRange, "anchor: path is for type file")
	case a.Type == AnchorFile:
		text, ok := p.text(map[string]*hclsyntax.Attribute{"path": at}, "path", b)
		if ok && !filepath.IsAbs(text) {
			p.fail(at.Expr.Range(), "anchor: path is absolute")
		}
		a.Path = text
	}
}

func (p *parser) anchorPolicy(at *hclsyntax.Attribute, text string, to *time.Duration) {
	switch text {
	case "fsync":
		*to = EveryFsync
	case "close":
		*to = AtClose
	default:
		d, err := time.ParseDuration(text)
		if err != nil || d < MinAnchorEvery || d > MaxAnchorEvery {
			p.fail(at.Expr.Range(), "anchor: policy is fsync, close, or a time from 1ms to 1h such as 500ms")
		}
		*to = d
	}
}

// anchorFits refuses an anchor in the KDS without a key spec, whose record it
// would be.
func (p *parser) anchorFits() {
	a := p.c.Anchor
	if a != nil && a.Type == AnchorKDS && p.c.PersistenceKeySpec() == nil {
		p.errs = append(p.errs, errAnchorNeedsSpec)
	}
}
