package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/host/faulthost"
	"github.com/coffer-fs/coffer/store/host/memhost"
	"github.com/coffer-fs/coffer/store/storetest"
)

// Places that the host did not give while roots were looked for are counted in what
// recover prints, as text and as JSON, and only if there are any.
func TestUnreadPlaces(t *testing.T) {
	volume := memhost.New(memhost.Options{})
	storetest.Create(t, volume, 8<<20)
	if err := storetest.Open(t, volume).Close(); err != nil {
		t.Fatal(err)
	}
	withSome := 0
	for n, hit := 0, true; hit; n++ {
		h := faulthost.New(volume)
		h.Add(faulthost.Rule{Ops: faulthost.Read, Fault: faulthost.FailBefore, Nth: n})
		rec, err := store.Recover(context.Background(), h, store.RecoverOptions{Options: store.Options{Unlocker: storetest.Unlocker("test")}})
		if hit = h.Hits() > 0; err != nil {
			continue
		}
		r := newRecoverResult(rec)
		if r.Unread > 0 {
			withSome++
		}
		var text bytes.Buffer
		if err := r.print(&text); err != nil {
			t.Fatal(err)
		}
		line := fmt.Sprintf("\nunread     %d places that the host did not give", rec.Summary.Unread)
		if strings.Contains(text.String(), line) != (rec.Summary.Unread > 0) || strings.Contains(text.String(), "\nunread") != (rec.Summary.Unread > 0) {
			t.Errorf("read %d fails: %+v is printed as %s", n, rec.Summary, text.String())
		}
		b, err := json.Marshal(r)
		if err != nil || !bytes.Contains(b, fmt.Appendf(nil, `"unreadPlaces":%d,`, rec.Summary.Unread)) {
			t.Errorf("read %d fails: %+v is printed as %s, %v", n, rec.Summary, b, err)
		}
	}
	if withSome == 0 {
		t.Error("no failing read was ever counted: nothing is tested")
	}
}
