package policy

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Period is a span of the calendar: months and days, whose length depends on
// the date they are counted from.
type Period struct{ Months, Days int32 }

// Years, months, weeks and days, each with a sign of its own, after a sign for
// all. Letters in either case.
var periodForm = regexp.MustCompile(
	`(?i)^([-+]?)P(?:([-+]?[0-9]+)Y)?(?:([-+]?[0-9]+)M)?(?:([-+]?[0-9]+)W)?(?:([-+]?[0-9]+)D)?$`)

var (
	errPeriod  = errors.New("not an ISO-8601 date period such as P6M or P1Y2M3W4D")
	errTooLong = fmt.Errorf("longer than %d years", MaxYears)
)

// ParsePeriod reads an ISO-8601 period of dates, without a time part.
func ParsePeriod(s string) (Period, error) {
	m := periodForm.FindStringSubmatch(s)
	if m == nil || strings.Join(m[2:], "") == "" {
		return Period{}, errPeriod
	}
	var n [4]int64
	for i, digits := range m[2:] {
		if digits == "" {
			continue
		}
		v, err := strconv.ParseInt(digits, 10, 32)
		if err != nil {
			return Period{}, errTooLong
		}
		n[i] = v
	}
	months, days := n[0]*12+n[1], n[2]*7+n[3]
	if m[1] == "-" {
		months, days = -months, -days
	}
	if max(months, -months) > MaxYears*12 || max(days, -days) > MaxYears*366 {
		return Period{}, errTooLong
	}
	return Period{Months: int32(months), Days: int32(days)}, nil
}

// String is the canonical text: whole years apart from months, weeks as days,
// parts that are zero left out, P0D for nothing.
func (p Period) String() string {
	var b strings.Builder
	b.WriteByte('P')
	for _, part := range []struct {
		n    int32
		unit byte
	}{{p.Months / 12, 'Y'}, {p.Months % 12, 'M'}, {p.Days, 'D'}} {
		if part.n != 0 {
			fmt.Fprintf(&b, "%d%c", part.n, part.unit)
		}
	}
	if b.Len() == 1 {
		return "P0D"
	}
	return b.String()
}

// Before is the time that lies p before t, in UTC. A day that the month does
// not have becomes its last one: one month before 31 March is the end of
// February.
func (p Period) Before(t time.Time) time.Time {
	t = t.UTC()
	first := time.Date(t.Year(), t.Month()-time.Month(p.Months), 1, t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), time.UTC)
	last := first.AddDate(0, 1, -1).Day()
	return first.AddDate(0, 0, min(t.Day(), last)-1-int(p.Days))
}
