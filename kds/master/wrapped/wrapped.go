// Package wrapped keeps master keys under a key that is elsewhere: in an HSM, or
// released by one. The host's disk holds what that key has wrapped, one record
// for each generation, and nothing that must be kept secret.
//
//	key elsewhere (a KEK)
//	 └ record of generation g, in a file of the host: bound to kind, type, name,
//	   generation, the wrapping key's version, and a commitment to the master key
//	    └ master key of generation g, random
//
// It promises that a master key is made only when that is asked for, once for
// each generation, and that nothing ever overwrites a record; that a record of
// another service, generation, type or wrapping key is refused, as is a changed
// byte; and that, once opened, the keys are in memory: the KEK is not needed
// until the next start, and its outage stops no node that runs.
//
// It relies on the KEK being secret to those who wrap: a KEK that anybody can wrap
// with, as with an RSA public key, would let whoever owns the disk put in a
// master key of his choice.
//
// It promises too that what happens to a master key is in the audit log before it
// happens: that one is made, and that one is held.
//
// Imported by cmd/coffer-kds. Imports kds, kds/attest, kds/audit, kds/master and key.
package wrapped

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/audit"
	"github.com/coffer-fs/coffer/kds/master"
	"github.com/coffer-fs/coffer/key"
)

const (
	// MaxGenerations is how many generations there may be.
	MaxGenerations = 256
	// MaxRecordBytes is the largest record.
	MaxRecordBytes = 4096
	// MaxIDBytes is the longest name of a KEK's version.
	MaxIDBytes = 512
	// MaxNameBytes is the longest name of a service.
	MaxNameBytes = 63
)

// KEK is a key that wraps master keys, and is elsewhere. What it wraps must be
// authenticated, together with aad.
type KEK interface {
	// Kind says what keeps it. It is part of every record.
	Kind() kds.MasterKeyType
	// Current names the version that new master keys are wrapped by.
	Current(ctx context.Context) (id string, err error)
	// Wrap wraps k by that version.
	Wrap(ctx context.Context, id string, k key.Key, aad []byte) ([]byte, error)
	// Unwrap opens what Wrap made, or fails with ErrUnwrap if it is something
	// else.
	Unwrap(ctx context.Context, id string, wrapped, aad []byte) (key.Key, error)
}

// Auditor is where it is written down what happens to a master key.
type Auditor interface {
	Append(audit.Entry) error
}

// Options of Open. All but Create are required.
type Options struct {
	// KEK wraps the master keys. It is needed during Open only.
	KEK KEK
	// Dir is where the records are.
	Dir string
	// Name is the service's, from its measured configuration.
	Name string
	// Mode is how the node runs: see TypeOf.
	Mode attest.Mode
	// Audit is told of each master key before it is made or held.
	Audit Auditor

	// Create is a generation that is made if it is not there: one more than the
	// newest. Danger: a node that makes generation 1 beside another node's has
	// other keys than that one. Default 0, none.
	Create kds.Generation
}

// Keys are the master keys of one service: a master.Provider.
type Keys struct {
	typ         kds.MasterKeyType
	keys        []key.Key // by generation, from 1
	commitments []string
	made        kds.Generation
}

var _ master.Provider = (*Keys)(nil)

// TypeOf is the type of the master keys of a node that runs so. Simulated nodes
// have a development key: it is never given to a release enclave, and the type is
// part of every derivation, so no key of theirs is ever one of a real node.
func TypeOf(kind kds.MasterKeyType, m attest.Mode) kds.MasterKeyType {
	if m == attest.Simulation {
		return kds.Development
	}
	return kind
}

// Open unwraps all master keys of a service.
//
//	read all records, unwrap each, then make one more if that was asked for
func Open(ctx context.Context, o Options) (*Keys, error) {
	if o.KEK == nil || o.Dir == "" || o.Name == "" || len(o.Name) > MaxNameBytes || !o.Mode.Valid() || o.Audit == nil {
		return nil, fmt.Errorf("%w: they need a wrapping key, a directory, a name of 1 to %d bytes, a mode and an audit log", ErrOptions, MaxNameBytes)
	}
	d := dir{path: o.Dir, head: head{kind: o.KEK.Kind(), typ: TypeOf(o.KEK.Kind(), o.Mode), name: o.Name}}
	records, err := d.all()
	if err != nil {
		return nil, err
	}
	k := &Keys{typ: d.typ}
	if err := k.open(ctx, o, d, records); err != nil {
		_ = k.Close()
		return nil, err
	}
	return k, nil
}

func (k *Keys) open(ctx context.Context, o Options, d dir, records []record) error {
	for _, r := range records {
		if err := k.hold(ctx, o, r); err != nil {
			return fmt.Errorf("open %q: %w", d.file(r.generation), err)
		}
	}
	switch newest := kds.Generation(len(records)); {
	case o.Create > newest+1 || o.Create > MaxGenerations:
		return fmt.Errorf("%w: the newest is %d, asked to make %d", ErrCreate, newest, o.Create)
	case o.Create == newest+1:
		return k.create(ctx, o, d)
	case newest == 0:
		return fmt.Errorf("%w: %q has none of %q", ErrNone, d.path, o.KEK.Kind())
	}
	return nil
}

// create makes a master key. It counts when its record is on the disk and has
// been opened from there.
func (k *Keys) create(ctx context.Context, o Options, d dir) error {
	g := o.Create
	fresh := key.New()
	defer fresh.Destroy()
	r, err := d.wrap(ctx, o.KEK, g, fresh)
	if err == nil {
		err = o.write(r, "to be made")
	}
	if err == nil {
		err = d.write(r)
	}
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make master key of generation %d: %w: somebody else has just made it; start again", g, ErrCreate)
	} else if err != nil {
		return fmt.Errorf("make master key of generation %d: %w", g, err)
	}
	r, err = d.read(g)
	if err != nil {
		return err
	}
	if err := k.hold(ctx, o, r); err != nil {
		return fmt.Errorf("read back %q: %w", d.file(g), err)
	}
	k.made = g
	return nil
}

// hold opens a record, and keeps its key.
func (k *Keys) hold(ctx context.Context, o Options, r record) error {
	mk, err := r.unwrap(ctx, o.KEK)
	if err != nil {
		if bad := o.write(r, "does not open: %.*s", kds.MaxReasonBytes, err); bad != nil {
			err = fmt.Errorf("%w; %w", err, bad)
		}
		return err
	}
	if err := o.write(r, "held from now on"); err != nil {
		mk.Destroy()
		return err
	}
	k.keys, k.commitments = append(k.keys, mk), append(k.commitments, fmt.Sprintf("%x", r.commitment))
	return nil
}

// write puts what happens to a master key into the audit log.
func (o Options) write(r record, format string, args ...any) error {
	e := audit.Entry{Event: audit.MasterKey, Reason: fmt.Sprintf(format, args...) + fmt.Sprintf("; commitment %x, wrapped by %q", r.commitment, r.id),
		Key: &audit.Key{Name: "master key of service " + r.name, MasterKeyType: string(r.typ), Generation: uint32(r.generation)}}
	if err := o.Audit.Append(e); err != nil {
		return fmt.Errorf("nothing happens to a master key without audit: %w", err)
	}
	return nil
}

// Type implements master.Provider.
func (k *Keys) Type() kds.MasterKeyType { return k.typ }

// Current implements master.Provider.
func (k *Keys) Current() kds.Generation { return kds.Generation(len(k.keys)) }

// Key implements master.Provider.
func (k *Keys) Key(_ context.Context, g kds.Generation) (key.Key, error) {
	if g == 0 || int64(g) > int64(len(k.keys)) {
		return key.Key{}, fmt.Errorf("%w: the newest is %d, asked for %d", master.ErrGeneration, len(k.keys), g)
	}
	return k.keys[g-1], nil
}

// Commitments name the master keys without telling them, by generation from 1:
// nodes with the same commitments give the same keys.
func (k *Keys) Commitments() []string { return k.commitments }

// Made is the generation that Open has made, 0 if none.
func (k *Keys) Made() kds.Generation { return k.made }

// Close implements master.Provider.
func (k *Keys) Close() error {
	for _, one := range k.keys {
		one.Destroy()
	}
	return nil
}
