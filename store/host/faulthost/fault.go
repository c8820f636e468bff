package faulthost

// Fault is what happens to a call.
type Fault uint8

const (
	// FailBefore fails the call, which takes no effect.
	FailBefore Fault = iota
	// FailAfter fails the call, which took effect.
	FailAfter
	// FailHalfway fails the call, which took half its effect: half the bytes
	// of an Append, half the segments of a Sync; none of another call.
	FailHalfway
	// Hang keeps the call waiting until its context ends.
	Hang
	// Pretend reports success of a changing call that took no effect.
	Pretend

	// ShortRead returns half the length asked for, without an error.
	ShortRead
	// EmptyRead returns 0 without an error.
	EmptyRead
	// LongRead returns a length beyond the buffer.
	LongRead
	// NegativeRead returns a negative length.
	NegativeRead
	// FlipRead inverts one bit of what was read.
	FlipRead
	// ScribbleLater changes the caller's buffer during the next read.
	ScribbleLater

	// HugeRecord returns a value far beyond the limit.
	HugeRecord
	// CutRecord returns half of the value.
	CutRecord
	// FlipRecord inverts one bit of the value.
	FlipRecord
	// OldRecord returns the first state that this host ever showed.
	OldRecord
	// NoVersion returns the version that stands for no record.
	NoVersion

	// HugeList lists far more segments than there can be.
	HugeList
	// NegativeSizes lists every segment with a negative size.
	NegativeSizes
	// HugeSizes lists every segment with the largest number for a size.
	HugeSizes
	// DoubleList lists every segment twice.
	DoubleList
	// StrangeIDs lists segments with numbers outside their limits too.
	StrangeIDs
	// EmptyList lists no segments.
	EmptyList

	none
)

const (
	// HugeRecordBytes is the size of a HugeRecord.
	HugeRecordBytes = 16 << 20
	// HugeListCount is the number of segments in a HugeList.
	HugeListCount = 1 << 20
)

// ops are the methods that a fault fits.
func (f Fault) ops() Ops {
	switch {
	case f <= Hang:
		return All
	case f == Pretend:
		return Changes &^ Acquire
	case f <= ScribbleLater:
		return Read
	case f <= NoVersion:
		return Get
	}
	return Segments
}
