package anchor

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/coffer-fs/coffer/kds"
)

const (
	recordMagic = "coffanch"
	recordBody  = 8 + 2 + 16 + 32 + 8 + kds.AnchorStateSize
	// RecordSize is the length of an encoded record.
	RecordSize    = recordBody + sha256.Size
	recordVersion = 1
)

// Encode encodes the record of a volume (docs/protocol.md, "Anchor").
func (r Record) Encode(v kds.VolumeID) []byte {
	b := append(make([]byte, 0, RecordSize), recordMagic...)
	b = binary.BigEndian.AppendUint16(b, recordVersion)
	b = append(b, v[:]...)
	b = append(b, r.Owner[:]...)
	b = binary.BigEndian.AppendUint64(b, r.Version)
	b = r.State.Append(b)
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

// ParseRecord decodes the record of a volume. ErrDamaged.
func ParseRecord(v kds.VolumeID, b []byte) (Record, error) {
	if len(b) != RecordSize || string(b[:8]) != recordMagic || sha256.Sum256(b[:recordBody]) != [32]byte(b[recordBody:]) {
		return Record{}, fmt.Errorf("volume %x: %w", v, ErrDamaged)
	}
	if n := binary.BigEndian.Uint16(b[8:]); n != recordVersion {
		return Record{}, fmt.Errorf("volume %x: version %d: %w", v, n, ErrDamaged)
	}
	if kds.VolumeID(b[10:26]) != v {
		return Record{}, fmt.Errorf("volume %x: the record is of volume %x: %w", v, b[10:26], ErrDamaged)
	}
	state, err := kds.ParseAnchorState(b[66:recordBody])
	return Record{Owner: Owner(b[26:58]), Version: binary.BigEndian.Uint64(b[58:]), State: state}, err
}
