package s3

import "fmt"

// Names of a volume's objects, below its prefix (docs/s3.md, "Objects").
const (
	headName   = "head"
	knockName  = "knock"
	logPrefix  = "log/"
	dataPrefix = "data/"
)

// Sizes that bound what is read and made (docs/s3.md, "Limits").
const (
	// maxHead is the largest head.
	maxHead = 64 << 20
	// maxMeta is the largest description of an entry's changes.
	maxMeta = 4 << 20
	// maxPayload is how many bytes of segments an entry carries.
	maxPayload = 8 << 20
	// maxEntry is the largest entry.
	maxEntry = entryHeaderSize + maxMeta + sumSize + maxPayload
	// endSize is that of an entry without changes, as one that ends an epoch is.
	endSize = entryHeaderSize + sumSize
	// inlineBytes is the largest run of bytes that goes into an entry; a larger
	// one is an object of its own.
	inlineBytes = 512 << 10
	// partBytes is the largest of these.
	partBytes = 16 << 20
	// maxSegments, maxExtents and maxRecords bound a state.
	maxSegments = 1 << 20
	maxExtents  = 1 << 14
	maxRecords  = 64
	// maxOwner is the longest name of a holder.
	maxOwner = 256
	// maxKnock is the largest knock.
	maxKnock = 1 << 10
)

// kindOfPlace says in which object bytes are.
type kindOfPlace byte

const (
	inLog  kindOfPlace = 0 // an entry of the journal
	inData kindOfPlace = 1 // an object of their own
)

// place is where a run of a segment's bytes begins.
type place struct {
	kind   kindOfPlace
	epoch  uint64
	number uint64
	offset uint32
}

// plus is the place so many bytes behind p.
func (p place) plus(size uint32) place {
	p.offset += size
	return p
}

// object is the name of the place's object.
func (p place) object() string {
	if p.kind == inLog {
		return logName(p.epoch, p.number)
	}
	return dataName(p.epoch, p.number)
}

func logName(epoch, index uint64) string {
	return fmt.Sprintf("%s%016x/%016x", logPrefix, epoch, index)
}

func dataName(epoch, number uint64) string {
	return fmt.Sprintf("%s%016x/%016x", dataPrefix, epoch, number)
}

// parseName is the inverse of logName and dataName, without the prefix.
func parseName(s string) (epoch, number uint64, ok bool) {
	if len(s) != 33 || s[16] != '/' {
		return 0, 0, false
	}
	_, err := fmt.Sscanf(s, "%016x/%016x", &epoch, &number)
	return epoch, number, err == nil && fmt.Sprintf("%016x/%016x", epoch, number) == s
}
