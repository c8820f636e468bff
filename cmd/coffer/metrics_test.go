package main

import (
	"context"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/coffer-fs/coffer"
	"github.com/coffer-fs/coffer/kds/kdstest"
	"github.com/coffer-fs/coffer/migrate"
	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/memhost"
	"github.com/coffer-fs/coffer/store/host/s3"
	"github.com/coffer-fs/coffer/store/host/s3/s3test"
)

// What a mount shows to Prometheus follows its migration.
func TestMetrics(t *testing.T) {
	o := coffer.Options{
		Config: parseConfig(t, `persistentFileSystemSize = "8m"`), Platform: kdstest.Sim(t, kdstest.AppBuild),
		Volume: memhost.New(memhost.Options{}),
	}
	if err := coffer.Create(ctx, o, 0, 0); err != nil {
		t.Fatal(err)
	}
	v, err := coffer.Open(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	m := &migration{}
	stop, err := serveMetrics("127.0.0.1:0", v, o.Volume, m)
	if err == nil {
		err = stop()
	}
	if err != nil {
		t.Error(err)
	}
	shown(t, v, m, "coffer_volume_capacity_bytes 8.388608e+06", "coffer_volume_writable 1", "coffer_migration_running 0")
	waiting := make(chan struct{})
	err = m.start(migrateRequest{Hash: "x"}, func(_ context.Context, _ *migrate.Control) (migrate.Summary, error) {
		<-waiting
		return migrate.Summary{}, errors.New("no")
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.change(steerRequest{Pause: true}); err != nil {
		t.Fatal(err)
	}
	shown(t, v, m, "coffer_migration_running 1", "coffer_migration_paused 1", "coffer_migration_failed 0")
	close(waiting)
	m.task.Wait()
	shown(t, v, m, "coffer_migration_running 0", "coffer_migration_paused 0", "coffer_migration_failed 1")
}

func shown(t *testing.T, v *coffer.Volume, m *migration, lines ...string) {
	t.Helper()
	shownOn(t, v, nil, m, lines...)
}

func shownOn(t *testing.T, v *coffer.Volume, h host.Volume, m *migration, lines ...string) {
	t.Helper()
	w := httptest.NewRecorder()
	promhttp.HandlerFor(newMetrics(v, h, m), promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	for _, l := range lines {
		if !strings.Contains(w.Body.String(), "\n"+l+"\n") {
			t.Errorf("no line %q", l)
		}
	}
}

// What an object store lacks is shown, and that it has caught up.
func TestMetricsOfLag(t *testing.T) {
	server := s3test.Quiet(nil)
	h := s3Options(server.URL)
	h.Transport, h.Durability, h.Dir, h.Patience = server.Transport(), s3.Local, t.TempDir(), time.Minute
	if err := s3.Create(ctx, s3URL, h); err != nil {
		t.Fatal(err)
	}
	volume, err := s3.Open(ctx, s3URL, h)
	if err != nil {
		t.Fatal(err)
	}
	defer volume.Close()
	o := coffer.Options{Config: parseConfig(t, `persistentFileSystemSize = "8m"`), Platform: kdstest.Sim(t, kdstest.AppBuild), Volume: volume}
	if err := coffer.Create(ctx, o, 0, 0); err != nil {
		t.Fatal(err)
	}
	v, err := coffer.Open(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	server.Break(func(string, string) s3test.Fault { return s3test.Busy })
	if err := v.FS.Mkdir("d", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := v.FS.Sync(); err != nil {
		t.Fatal(err)
	}
	if l := volume.Lag(); l.Changes == 0 || l.Bytes == 0 || l.Age <= 0 {
		t.Errorf("the lag is %+v", l)
	}
	server.Break(nil)
	for end := time.Now().Add(time.Minute); volume.Lag().Changes > 0 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	shownOn(t, v, volume, &migration{}, "coffer_store_lag_changes 0", "coffer_store_lag_bytes 0", "coffer_store_lag_seconds 0")
}
