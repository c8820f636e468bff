package main

import (
	"context"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/coffer-fs/coffer"
	"github.com/coffer-fs/coffer/kds/kdstest"
	"github.com/coffer-fs/coffer/migrate"
	"github.com/coffer-fs/coffer/store/host/memhost"
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
	stop, err := serveMetrics("127.0.0.1:0", v, m)
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
	w := httptest.NewRecorder()
	promhttp.HandlerFor(newMetrics(v, m), promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	for _, l := range lines {
		if !strings.Contains(w.Body.String(), "\n"+l+"\n") {
			t.Errorf("no line %q", l)
		}
	}
}
