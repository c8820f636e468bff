package main

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/coffer-fs/coffer"
	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/s3"
)

// metricsTimeout bounds a request for metrics.
const metricsTimeout = 10 * time.Second

// newMetrics is what is said of a mounted volume: its room, its migration, and how far
// an object store is behind. No label comes from inside the volume.
func newMetrics(v *coffer.Volume, h host.Volume, m *migration) *prometheus.Registry {
	space := func(of func(store.Space) int64) func() float64 {
		return func() float64 { return float64(of(v.Store().Space())) }
	}
	state := func(of func(migrateState) float64) func() float64 {
		return func() float64 { return of(m.state(tellFor(""))) }
	}
	flag := func(b bool) float64 {
		if b {
			return 1
		}
		return 0
	}
	type gauge struct {
		name, help string
		of         func() float64
	}
	gauges := []gauge{
		{"coffer_volume_capacity_bytes", "Size limit of the volume.", space(func(s store.Space) int64 { return s.Capacity })},
		{"coffer_volume_used_bytes", "In use of it.", space(func(s store.Space) int64 { return s.Used })},
		{"coffer_volume_available_bytes", "What can still be written.", space(func(s store.Space) int64 { return s.Available })},
		{"coffer_volume_writable", "0 if the volume takes no changes, perhaps after a failure.", func() float64 { return flag(v.Store().Err() == nil) }},
		{"coffer_volume_older_keys", "Earlier volume keys that are still needed: a migration is begun.", func() float64 { return float64(v.Store().KeyState().Older) }},
		{"coffer_volume_old_key_bytes", "What lives under them.", func() float64 { return float64(v.Store().KeyState().Remaining) }},
		{"coffer_migration_running", "1 while a migration is under way.", state(func(s migrateState) float64 { return flag(s.Running) })},
		{"coffer_migration_paused", "1 while it is held.", state(func(s migrateState) float64 { return flag(s.Running && s.Paused) })},
		{"coffer_migration_failed", "1 if the last one failed.", state(func(s migrateState) float64 { return flag(s.Failure != nil) })},
		{"coffer_migration_done_bytes", "Under the new key.", state(func(s migrateState) float64 { return float64(s.Done) })},
		{"coffer_migration_total_bytes", "To be under the new key.", state(func(s migrateState) float64 { return float64(s.Total) })},
		{"coffer_migration_bytes_per_second", "Its pace.", state(func(s migrateState) float64 { return float64(s.BytesPerSecond) })},
		{"coffer_migration_seconds_left", "Time left at that pace; 0 if it is not known.", state(func(s migrateState) float64 { return s.SecondsLeft })},
	}
	if s, ok := h.(*s3.Volume); ok {
		gauges = append(gauges,
			gauge{"coffer_store_lag_changes", "Syncs that were acknowledged and are not in the object store yet.", func() float64 { return float64(s.Lag().Changes) }},
			gauge{"coffer_store_lag_bytes", "What they have of segments.", func() float64 { return float64(s.Lag().Bytes) }},
			gauge{"coffer_store_lag_seconds", "How old the oldest is.", func() float64 { return s.Lag().Age.Seconds() }},
		)
	}
	r := prometheus.NewRegistry()
	for _, g := range gauges {
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: g.name, Help: g.help}, g.of))
	}
	return r
}

// serveMetrics serves /metrics on an address, nothing if it is empty.
func serveMetrics(address string, v *coffer.Volume, h host.Volume, m *migration) (stop func() error, err error) {
	if address == "" {
		return func() error { return nil }, nil
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("serve metrics: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(newMetrics(v, h, m), promhttp.HandlerOpts{MaxRequestsInFlight: 4}))
	s := &http.Server{Handler: mux, ReadTimeout: metricsTimeout, WriteTimeout: metricsTimeout}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	return func() error {
		err := s.Close()
		if served := <-ended; !errors.Is(served, http.ErrServerClosed) {
			err = errors.Join(err, served)
		}
		return err
	}, nil
}
