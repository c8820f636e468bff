package server

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics counts what a node does. Its labels are of fixed sets: nothing of a
// request becomes one.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	took     *prometheus.HistogramVec
	released prometheus.Counter
	refused  prometheus.Counter
}

func newMetrics(s *Server) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "coffer_kds_requests_total", Help: "Requests, by path and status."}, []string{"path", "status"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "coffer_kds_request_seconds", Help: "Time of a request, from its header to its answer.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 15)}, []string{"path"}),
		released: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "coffer_kds_released_total", Help: "Keys that were given, each with an audit line."}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "coffer_kds_refused_total", Help: "Keys that were refused to enclaves with valid evidence."}),
	}
	gauge := func(name, help string, of func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, of)
	}
	m.registry.MustRegister(m.requests, m.took, m.released, m.refused, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		gauge("coffer_kds_requests", "Requests being served.", func() float64 { return float64(len(s.reading)) }),
		gauge("coffer_kds_working", "Requests that use a processor.", func() float64 { return float64(len(s.working)) }),
		gauge("coffer_kds_audit_up", "1 while the audit log can be written: without it no key is given.", func() float64 {
			if s.o.Audit.Err() != nil {
				return 0
			}
			return 1
		}),
		gauge("coffer_kds_orders_number", "Number of the operator's orders in force.", func() float64 {
			return float64(s.orders().Number)
		}))
	return m
}

// count notes a request that was answered.
func (m *metrics) count(s *Server, path string, status int, took time.Duration) {
	if _, known := s.routes[path]; !known {
		path = "other"
	}
	m.requests.WithLabelValues(path, strconv.Itoa(status)).Inc()
	m.took.WithLabelValues(path).Observe(took.Seconds())
}

// decided notes a line of the audit log.
func (m *metrics) decided(verdict error) {
	if verdict == nil {
		m.released.Inc()
	} else {
		m.refused.Inc()
	}
}

// Monitor serves /metrics for Prometheus, the probes /healthz and /readyz, and
// /audit, the signed end of the audit log.
// It belongs on an address that only the operator reaches: it says how much is
// going on.
func (s *Server) Monitor() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4}))
	mux.Handle("GET /healthz", s)
	mux.Handle("GET /readyz", s)
	mux.HandleFunc("GET /audit", s.auditHead)
	return mux
}
