package kds

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"

	"github.com/coffer-fs/coffer/key"
)

// What an anchor says instead of doing what it was asked for. Each is
// authenticated: nothing happened.
var (
	// ErrAnchorNone: there is no record of the volume.
	ErrAnchorNone = errors.New("KDS keeps no anchor of the volume")
	// ErrAnchorConflict: the record has another state.
	ErrAnchorConflict = errors.New("KDS keeps another state of the volume")
	// ErrAnchorOther: the record belongs to another spec.
	ErrAnchorOther = errors.New("KDS keeps the volume's anchor for another key spec")
)

// AnchorClient asks a KDS for the anchors of one spec's volumes. It may be used
// by several goroutines.
//
// Its key is got by attestation once, when it is first needed; after that a
// request is a round trip. Any error that is not one of the three above leaves
// it unknown whether what was asked for happened.
type AnchorClient struct {
	client *Client
	spec   Spec

	mu         sync.Mutex // guards all below
	key        key.Key    // zero until it is needed
	generation Generation
	records    map[VolumeID]anchorRecord // as they were seen last
}

// anchorRecord is a record as an answer showed it.
type anchorRecord struct {
	version uint64
	state   AnchorState
}

// NewAnchorClient returns the client of a spec's volumes.
func NewAnchorClient(c *Client, s Spec) *AnchorClient {
	return &AnchorClient{client: c, spec: s, records: map[VolumeID]anchorRecord{}}
}

// NewAnchorClientWithKey is NewAnchorClient for who was handed the spec's anchor
// key, of that generation, and can't get it from the KDS. The client makes a copy.
func NewAnchorClientWithKey(c *Client, s Spec, k key.Key, g Generation) (*AnchorClient, error) {
	a := NewAnchorClient(c, s)
	var err error
	a.key, err = key.FromBytes(k.Bytes())
	a.generation = g
	return a, err
}

// Owner returns the spec with its anchor key, for somebody to be handed it. The key
// is the client's own: whoever wants to keep it makes a copy.
func (a *AnchorClient) Owner(ctx context.Context) (Spec, key.Key, Generation, error) {
	k, g, err := a.ensureKey(ctx)
	if err != nil {
		err = fmt.Errorf("get anchor key: %w", err)
	}
	return a.spec, k, g, err
}

// Read returns the state of a volume. ErrAnchorNone, ErrAnchorOther.
func (a *AnchorClient) Read(ctx context.Context, v VolumeID) (AnchorState, error) {
	state, _, err := a.read(ctx, v)
	if err != nil {
		err = fmt.Errorf("read anchor: %w", err)
	}
	return state, err
}

func (a *AnchorClient) read(ctx context.Context, v VolumeID) (AnchorState, uint64, error) {
	answer, err := a.ask(ctx, AnchorRequest{Volume: v[:], Op: AnchorRead})
	if err != nil {
		return AnchorState{}, 0, err
	}
	state, err := ParseAnchorState(answer.State)
	if err == nil {
		a.saw(v, anchorRecord{answer.Version, state})
	}
	return state, answer.Version, err
}

// Advance replaces the state of a volume if it still is old, the zero state
// standing for none. ErrAnchorConflict, ErrAnchorOther.
func (a *AnchorClient) Advance(ctx context.Context, v VolumeID, old, next AnchorState) error {
	if err := a.advance(ctx, v, old, next); err != nil {
		return fmt.Errorf("advance anchor: %w", err)
	}
	return nil
}

func (a *AnchorClient) advance(ctx context.Context, v VolumeID, old, next AnchorState) error {
	version, err := a.version(ctx, v, old)
	if err != nil {
		return err
	}
	answer, err := a.ask(ctx, AnchorRequest{Volume: v[:], Op: AnchorAdvance, Version: version, State: next.Append(nil)})
	switch {
	case errors.Is(err, ErrAnchorNone):
		return ErrAnchorConflict
	case errors.Is(err, ErrAnchorConflict) && string(answer.State) == string(next.Append(nil)):
		err = nil // the request was sent more than once, and the first was not in vain
	}
	if err != nil {
		a.saw(v, anchorRecord{}) // it may or may not be the next one now
		return err
	}
	a.saw(v, anchorRecord{answer.Version, next})
	return nil
}

// version is that of the record whose state is old.
func (a *AnchorClient) version(ctx context.Context, v VolumeID, old AnchorState) (uint64, error) {
	if (old == AnchorState{}) {
		return 0, nil
	}
	a.mu.Lock()
	known := a.records[v]
	a.mu.Unlock()
	if known.state == old {
		return known.version, nil
	}
	now, version, err := a.read(ctx, v)
	switch {
	case errors.Is(err, ErrAnchorNone), err == nil && now != old:
		return 0, ErrAnchorConflict
	}
	return version, err
}

// saw remembers a record; the zero one forgets it.
func (a *AnchorClient) saw(v VolumeID, r anchorRecord) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if (r == anchorRecord{}) {
		delete(a.records, v)
	} else {
		a.records[v] = r
	}
}

// MoveTo gives the record of a volume to another client's spec. It is no error
// if that has it already.
func (a *AnchorClient) MoveTo(ctx context.Context, to *AnchorClient, v VolumeID) error {
	if a.spec.Equal(to.spec) {
		return nil
	}
	err := a.moveTo(ctx, to, v)
	if err == nil {
		return nil
	}
	if _, there := to.Read(ctx, v); there == nil {
		return nil
	}
	return fmt.Errorf("move anchor: %w", err)
}

func (a *AnchorClient) moveTo(ctx context.Context, to *AnchorClient, v VolumeID) error {
	toKey, generation, err := to.ensureKey(ctx)
	if err != nil {
		return err
	}
	_, version, err := a.read(ctx, v)
	if err != nil {
		return err
	}
	r := AnchorRequest{Volume: v[:], Op: AnchorMove, Version: version, To: &AnchorTo{Spec: to.spec, Generation: generation}}
	_, err = a.askBoth(ctx, r, toKey)
	a.saw(v, anchorRecord{})
	to.saw(v, anchorRecord{})
	return err
}

// Close destroys the key. The client gets it again if it is used again.
func (a *AnchorClient) Close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.key.IsZero() {
		a.key.Destroy()
		a.key = key.Key{}
	}
}

// ensureKey gets the anchor key if it is not there yet.
func (a *AnchorClient) ensureKey(ctx context.Context) (key.Key, Generation, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.key.IsZero() {
		r, err := a.client.Release(ctx, a.spec, Anchor, 0)
		if err != nil {
			return key.Key{}, 0, err
		}
		a.key, a.generation = r.Key, r.Generation
	}
	return a.key, a.generation, nil
}

func (a *AnchorClient) ask(ctx context.Context, r AnchorRequest) (AnchorAnswer, error) {
	return a.askBoth(ctx, r, key.Key{})
}

// askBoth sends a request, authenticated by the spec's key and, for a move, by
// that of the spec that gets the record, and believes an answer that is
// authenticated for this very request.
func (a *AnchorClient) askBoth(ctx context.Context, r AnchorRequest, to key.Key) (AnchorAnswer, error) {
	k, generation, err := a.ensureKey(ctx)
	if err != nil {
		return AnchorAnswer{}, err
	}
	r.Spec, r.Generation, r.Nonce = a.spec, generation, make([]byte, anchorNonceSize)
	rand.Read(r.Nonce)
	r.MAC = r.Sign(k)
	if r.To != nil {
		r.To.MAC = r.Sign(to)
	}
	answer, err := ask(ctx, a.client, "anchor", r, func(answer AnchorAnswer) error {
		if !hmac.Equal(answer.MAC, answer.Sign(k, r)) {
			return fmt.Errorf("%w: it is not authenticated for this request", ErrDamaged)
		}
		return nil
	})
	if err != nil {
		return AnchorAnswer{}, err
	}
	switch answer.Status {
	case AnchorOK:
		return answer, nil
	case AnchorNone:
		return answer, ErrAnchorNone
	case AnchorConflict:
		return answer, ErrAnchorConflict
	case AnchorOther:
		return answer, ErrAnchorOther
	}
	return AnchorAnswer{}, fmt.Errorf("%w: status %q", ErrDamaged, answer.Status)
}
