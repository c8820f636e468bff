package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/coffer-fs/coffer/store/host"
)

// CodeOf is the code of an error of the host, CodeFailed if it is no refusal.
func CodeOf(err error) string {
	for _, r := range refusals {
		if errors.Is(err, r.err) {
			return r.code
		}
	}
	return CodeFailed
}

// Refusal is the error of a code; nil if the code is not that of a refusal.
func Refusal(code string) error {
	for _, r := range refusals {
		if r.code == code {
			return r.err
		}
	}
	return nil
}

// StatusOf is the HTTP status that goes with a code.
func StatusOf(code string) int {
	switch code {
	case CodeNotFound:
		return http.StatusNotFound
	case CodeConflict:
		return http.StatusPreconditionFailed
	case CodeExists, CodeOffset, CodeInUse, CodeHeld:
		return http.StatusConflict
	case CodeNoSpace:
		return http.StatusInsufficientStorage
	case CodeFenced, CodeLost:
		return http.StatusForbidden
	case CodeInvalid:
		return http.StatusBadRequest
	case CodeEnd:
		return http.StatusRequestedRangeNotSatisfiable
	case CodeBusy:
		return http.StatusServiceUnavailable
	case CodeUnauthorized:
		return http.StatusUnauthorized
	}
	return http.StatusInternalServerError
}

// Quote is a version as an entity tag.
func Quote(v host.Version) string { return `"` + string(v) + `"` }

// Unquote is the inverse of Quote: versions are printable, without quotes.
func Unquote(tag string) (host.Version, error) {
	v, ok := strings.CutPrefix(tag, `"`)
	v, closed := strings.CutSuffix(v, `"`)
	if !ok || !closed || len(v) == 0 || len(v) > MaxVersion {
		return "", fmt.Errorf("%.40q is not a version", tag)
	}
	for i := range len(v) {
		if v[i] <= ' ' || v[i] >= 0x7f || v[i] == '"' {
			return "", fmt.Errorf("%.40q is not a version", tag)
		}
	}
	return host.Version(v), nil
}

// ParseSegment reads the number of a segment.
func ParseSegment(s string) (host.SegmentID, error) {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil || strconv.FormatUint(n, 10) != s {
		return 0, fmt.Errorf("%.40q is not the number of a segment: %w", s, host.ErrInvalid)
	}
	return host.SegmentID(n), host.CheckSegment(host.SegmentID(n), 0, 0)
}

// infoSize is the size of a segment in a list.
const infoSize = 16

// AppendInfos encodes a list of segments.
func AppendInfos(b []byte, infos []host.SegmentInfo) []byte {
	for _, i := range infos {
		b = binary.BigEndian.AppendUint64(b, uint64(i.ID))
		b = binary.BigEndian.AppendUint64(b, uint64(max(i.Size, 0)))
	}
	return b
}

// MaxInfos is the largest list, in bytes.
const MaxInfos = MaxListed * infoSize

// ParseInfos decodes a list of segments, and takes only what can be one.
func ParseInfos(b []byte) ([]host.SegmentInfo, error) {
	if len(b)%infoSize != 0 || len(b) > MaxInfos {
		return nil, fmt.Errorf("a list of %d bytes", len(b))
	}
	infos := make([]host.SegmentInfo, 0, len(b)/infoSize)
	for ; len(b) > 0; b = b[infoSize:] {
		id, size := host.SegmentID(binary.BigEndian.Uint64(b)), binary.BigEndian.Uint64(b[8:])
		if id == 0 || id > host.MaxSegmentID || size > host.MaxSegmentSize {
			return nil, fmt.Errorf("segment %d of %d bytes in a list", id, size)
		}
		infos = append(infos, host.SegmentInfo{ID: id, Size: int64(size)})
	}
	return infos, nil
}

// AppendIDs encodes numbers of segments.
func AppendIDs(b []byte, ids []host.SegmentID) []byte {
	for _, id := range ids {
		b = binary.BigEndian.AppendUint64(b, uint64(id))
	}
	return b
}

// ParseIDs decodes numbers of segments.
func ParseIDs(b []byte) (ids []host.SegmentID, err error) {
	if len(b)%8 != 0 || len(b) > MaxSynced*8 {
		return nil, fmt.Errorf("a list of %d bytes: %w", len(b), host.ErrInvalid)
	}
	for ; len(b) > 0; b = b[8:] {
		ids = append(ids, host.SegmentID(binary.BigEndian.Uint64(b)))
	}
	return ids, nil
}

// IDsText is a list of segments in a header.
func IDsText(ids []host.SegmentID) string {
	s := make([]string, len(ids))
	for i, id := range ids {
		s[i] = strconv.FormatUint(uint64(id), 10)
	}
	return strings.Join(s, ",")
}

// ParseIDsText is the inverse of IDsText; the empty text is the empty list.
func ParseIDsText(s string) (ids []host.SegmentID, err error) {
	if s == "" {
		return nil, nil
	}
	parts := strings.SplitN(s, ",", MaxSyncedInHeader+1)
	if len(parts) > MaxSyncedInHeader {
		return nil, fmt.Errorf("more than %d segments in a header: %w", MaxSyncedInHeader, host.ErrInvalid)
	}
	for _, p := range parts {
		id, err := ParseSegment(p)
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// CheckVolume refuses names of volumes that could be anything else to a file
// system: they match [a-z0-9][a-z0-9._-]{0,63}, as those of records do.
func CheckVolume(name string) error {
	if err := host.CheckRecord(name, nil); err != nil {
		return fmt.Errorf("volume name %.80q: %w", name, host.ErrInvalid)
	}
	return nil
}
