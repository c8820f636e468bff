package migrate

import "time"

// Meter lets tests use the meter.
type Meter struct{ m meter }

// NewMeter returns one that saw nothing.
func NewMeter() *Meter { return &Meter{} }

// Add adds bytes that passed.
func (m *Meter) Add(now time.Time, bytes int64) { m.m.add(now, bytes) }

// PerSecond is how many pass.
func (m *Meter) PerSecond(now time.Time) float64 { return m.m.perSecond(now) }
