package mail

// SizePolicy says how large a mail should look. Post pads private header and
// body together to that size, so that their true size shows only if it is
// larger. A policy is used by one post office, which calls it one call at a
// time.
type SizePolicy interface {
	// MinSize is told the size of each mail, in bytes, and returns the size that
	// it is padded to. Less than size means no padding.
	MinSize(size int64) int64
}

// FixedSize pads every mail to a size.
type FixedSize int64

// MinSize implements SizePolicy.
func (f FixedSize) MinSize(int64) int64 { return int64(f) }

// LargestSeen pads every mail to the largest before it.
type LargestSeen struct{ largest int64 }

// MinSize implements SizePolicy.
func (l *LargestSeen) MinSize(size int64) int64 {
	l.largest = max(l.largest, size)
	return l.largest
}

// window is over how many mails MovingAverage goes.
const window = 16

// MovingAverage pads every mail to the average of the last 16, itself
// included, rounded up.
type MovingAverage struct {
	last  [window]int64
	count int
}

// MinSize implements SizePolicy.
func (m *MovingAverage) MinSize(size int64) int64 {
	m.last[m.count%window] = size
	m.count++
	known := int64(min(m.count, window))
	var sum int64 // MaxChunks keeps it far from overflowing
	for _, s := range m.last[:known] {
		sum += s
	}
	return (sum + known - 1) / known
}

// padding is how many bytes follow a mail of size that is to look like minimum.
func padding(size, minimum int64) int64 {
	return max(0, min(minimum, MaxPaddedBytes)-size)
}
