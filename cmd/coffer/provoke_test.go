package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/coffer-fs/coffer"
	"github.com/coffer-fs/coffer/config"
	cofs "github.com/coffer-fs/coffer/fs"
	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/handover"
	"github.com/coffer-fs/coffer/kds/kdstest"
	"github.com/coffer-fs/coffer/kds/mail"
	"github.com/coffer-fs/coffer/key"
	"github.com/coffer-fs/coffer/migrate"
	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/faulthost"
	"github.com/coffer-fs/coffer/store/host/local"
	"github.com/coffer-fs/coffer/store/host/memhost"
	"github.com/coffer-fs/coffer/store/host/point"
	"github.com/coffer-fs/coffer/store/host/remote"
	"github.com/coffer-fs/coffer/store/host/s3"
	"github.com/coffer-fs/coffer/store/host/transfer"
	"github.com/coffer-fs/coffer/store/seal"
)

// provoke has a test for each class of error that no script can provoke: those
// of release enclaves, of hosts that fail, and of defects.
var provoke = map[error]func(*testing.T) error{
	remote.ErrAnswer:        wrongAnswer,
	s3.ErrCertificate:       bucketOfNobody,
	s3.ErrConditions:        bucketForgets,
	s3.ErrFormat:            laterHead,
	s3.ErrUncertain:         bucketSilent,
	s3.ErrUnreachable:       bucketGone,
	s3.ErrAnswer:            wrongHead,
	kds.ErrNoKDS:            noKDS,
	coffer.ErrHostInProcess: hostInProcess,
	attest.ErrSeal:          noSealKey,
	kds.ErrPlatform:         noQuote,
	store.ErrNoVolume:       noHeader,
	cofs.ErrNoFilesystem:    noFilesystem,
	store.ErrReadOnly:       failedSync,
	store.ErrSnapshots:      manySnapshots,
	store.ErrSnapshotList:   spoiltSnapshotList,
	errTree:                 contradiction,
	handover.ErrMessage:     madeUpHandover,
	coffer.ErrMigrating:     twoMigrations,
	migrate.ErrLastStep:     tooLate,
	host.ErrHeld:            heldByPoint,
	transfer.ErrToken:       tokenOfAnother,
	// store.TestCheckFindsMiscounts makes one; from outside there is no way to.
	store.ErrAccounting: func(*testing.T) error { return store.ErrAccounting },
	// kds/mail's vectors have such letters; the tool posts none.
	mail.ErrSender: func(*testing.T) error { return mail.ErrSender },
	// Nor to mix two volumes of one key, as store.TestRecoverTwoVolumes does.
	store.ErrAmbiguous: func(*testing.T) error { return store.ErrAmbiguous },
}

// A token has the ids of two points of this volume, and is of another manifest.
func tokenOfAnother(*testing.T) error {
	m := point.Manifest{ID: host.PointID{1}, Name: "a", Segments: []point.Segment{{ID: 1, Size: 5}}}
	token := m.Token(m.Start())
	m.Segments[0].Size++
	_, err := transfer.Resume(m, token)
	return err
}

var ctx = context.Background()

// A release enclave asks for the development key: the KDS refuses.
func TestDevelopmentKeyForRelease(t *testing.T) {
	k := kdstest.New(t, kdstest.Options{})
	o := releaseOptions(t)
	o.KDSURL = k.URL
	_, err := coffer.NewSecret(ctx, o)
	if !errors.Is(err, kds.ErrRefused) || classify(err).code != exitKDSRefused {
		t.Errorf("%v, code %d", err, classify(err).code)
	}
}

// A mount is refused to a release enclave.
func TestNoMountInRelease(t *testing.T) {
	if code := classify(errMountInRelease).code; code != exitPlatform {
		t.Errorf("code %d", code)
	}
}

// parseConfig parses a configuration.
func parseConfig(t *testing.T, text string) *config.Config {
	t.Helper()
	c, _, err := config.Parse("test.hcl", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func releaseOptions(t *testing.T) coffer.Options {
	return coffer.Options{
		Config: parseConfig(t, `
persistentFileSystemSize = "8m"
kds {
  kdsEnclaveConstraint = "C:`+string(kdstest.NodeBuild.CodeHash)+` SEC:INSECURE"
  persistenceKeySpec {
    masterKeyType = "development"
    policyConstraint {
      constraint                   = "SEC:STALE"
      useOwnCodeSignerAndProductID = true
    }
  }
}`),
		Platform: kdstest.Release(kdstest.AppBuild, attest.Secure),
		Volume:   memhost.New(memhost.Options{}),
	}
}

func noKDS(t *testing.T) error {
	_, err := coffer.NewSecret(ctx, releaseOptions(t))
	return err
}

// madeUpHandover is a volume whose host changed what was handed over.
func madeUpHandover(t *testing.T) error {
	o := releaseOptions(t)
	o.Platform = kdstest.Sim(t, kdstest.AppBuild)
	o.Config = parseConfig(t, strings.Replace(string(o.Config.Raw()), "SEC:STALE", "SEC:INSECURE", 1)+"\nupgrade {\n  ticketKey = \""+strings.Repeat("0a", 32)+"\"\n}\n")
	o.KDSURL = kdstest.New(t, kdstest.Options{}).URL
	spec, err := coffer.Spec(o)
	if err != nil {
		t.Fatal(err)
	}
	descriptor, err := json.Marshal(coffer.SpecSlot{Spec: spec, Generation: 1})
	if err != nil {
		t.Fatal(err)
	}
	own := store.Secret{Kind: seal.SlotMachine, Descriptor: []byte("{}"), Key: key.New()}
	if err := store.Create(ctx, o.Volume, store.CreateOptions{Capacity: store.MinCapacity, Secret: own}); err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(ctx, o.Volume, store.Options{Unlocker: store.Secrets{own}})
	if err != nil {
		t.Fatal(err)
	}
	err = s.HandOver(ctx, store.Secret{Kind: seal.SlotHandover, Descriptor: descriptor, Key: key.New()}, []byte("{}"))
	if err := errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	_, err = coffer.Open(ctx, o)
	return err
}

func hostInProcess(t *testing.T) error {
	o := releaseOptions(t)
	o.Volume = localVolume(t)
	_, err := coffer.Open(ctx, o)
	return err
}

func localVolume(t *testing.T) *local.Volume {
	dir := t.TempDir()
	if err := local.Create(dir); err != nil {
		t.Fatal(err)
	}
	v, err := local.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.Close() })
	return v
}

// simOptions are those of a simulated enclave with the key of its machine.
func simOptions(t *testing.T, v host.Volume) coffer.Options {
	return coffer.Options{
		Config: parseConfig(t, `persistentFileSystemSize = "8m"`), Platform: kdstest.Sim(t, kdstest.AppBuild), Volume: v,
	}
}

func noSealKey(t *testing.T) error {
	o := simOptions(t, memhost.New(memhost.Options{}))
	o.Platform = kdstest.Release(kdstest.AppBuild, attest.Secure) // a fake, which has none
	_, err := coffer.NewSecret(ctx, o)
	return err
}

// mute is a platform that makes no evidence.
type mute struct{ attest.Platform }

func (mute) Quote(attest.ReportData) (attest.Evidence, error) {
	return attest.Evidence{}, errors.New("out of order")
}

func noQuote(t *testing.T) error {
	o := releaseOptions(t)
	o.Platform, o.KDSURL = mute{o.Platform}, "http://127.0.0.1:1"
	_, err := coffer.NewSecret(ctx, o)
	return err
}

// noHeader is a place for a volume whose making was cut off.
func noHeader(t *testing.T) error {
	_, err := coffer.Open(ctx, simOptions(t, localVolume(t)))
	return err
}

func noFilesystem(t *testing.T) error {
	o := simOptions(t, memhost.New(memhost.Options{}))
	s, err := coffer.NewSecret(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Create(ctx, o.Volume, store.CreateOptions{Capacity: 8 << 20, Secret: s}); err != nil {
		t.Fatal(err)
	}
	_, err = coffer.Open(ctx, o)
	return err
}

// made is a volume with a filesystem, opened.
func made(t *testing.T, h host.Volume) *coffer.Volume { return madeWith(t, simOptions(t, h)) }

func madeWith(t *testing.T, o coffer.Options) *coffer.Volume {
	if err := coffer.Create(ctx, o, 0, 0); err != nil {
		t.Fatal(err)
	}
	v, err := coffer.Open(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// failedSync is a host whose disk fails, and who has no second chance.
func failedSync(t *testing.T) error {
	h := faulthost.New(memhost.New(memhost.Options{}))
	v := made(t, h)
	h.Add(faulthost.Rule{Ops: faulthost.Sync, Fault: faulthost.FailBefore, Sticky: true})
	if err := v.WriteFile("file", []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	_ = v.Sync()
	err := v.WriteFile("more", []byte("x"), 0o600)
	if err == nil {
		err = v.Sync()
	}
	_ = v.Close()
	return err
}

// manySnapshots are more than a volume may have.
func manySnapshots(t *testing.T) error {
	v := made(t, memhost.New(memhost.Options{}))
	defer v.Close()
	for i := range store.MaxSnapshots {
		if _, err := v.TakeSnapshot(fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	_, err := v.TakeSnapshot("more")
	return err
}

// spoiltSnapshotList is a volume of which a node is damaged that holds records of
// snapshots, and nothing of the present state.
func spoiltSnapshotList(t *testing.T) error {
	h := memhost.New(memhost.Options{})
	o := simOptions(t, h)
	v := madeWith(t, o)
	var names []string
	for i := range 40 {
		names = append(names, fmt.Sprint(i))
		if err := v.WriteFile(names[i], make([]byte, 2000), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := v.TakeSnapshot("kept"); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if err := v.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	for _, id := range h.SegmentIDs() {
		for at := len(h.Segment(id)) - 1; at > seal.PreambleSize; at -= 1000 {
			spoilt := h.Clone()
			spoilt.FlipBit(id, int64(at), 0)
			o.Volume = spoilt
			v, err := coffer.Open(ctx, o)
			if err == nil {
				err = v.Close()
			}
			if errors.Is(err, store.ErrSnapshotList) {
				return err
			}
		}
	}
	return nil
}

// contradiction is a directory whose entries are gone.
func contradiction(t *testing.T) error {
	v := made(t, memhost.New(memhost.Options{}))
	defer v.Close()
	if err := v.WriteFile("file", []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := v.Sync(); err != nil {
		t.Fatal(err)
	}
	i, err := v.Stat("file")
	if err != nil {
		t.Fatal(err)
	}
	ino := uint64(i.Sys().(cofs.Attr).Ino)
	err = v.Store().Update(ctx, func(tx *store.Tx) error {
		var keys []store.Key
		err := tx.Scan(store.Key{Object: ino}, store.Key{Object: ino + 1}, func(k store.Key, _ []byte) (bool, error) {
			keys = append(keys, k)
			return true, nil
		})
		for _, k := range keys {
			err = errors.Join(err, tx.Delete(k))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	r := &checkResult{}
	return r.checkTree(ctx, v)
}
