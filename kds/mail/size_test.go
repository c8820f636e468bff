package mail_test

import (
	"strings"
	"testing"

	"github.com/coffer-fs/coffer/kds/mail"
)

func TestSizePolicies(t *testing.T) {
	for _, c := range []struct {
		what        string
		policy      mail.SizePolicy
		sizes, want []int64
	}{
		{"fixed", mail.FixedSize(10), []int64{0, 5, 20, 1}, []int64{10, 10, 10, 10}},
		{"largest", &mail.LargestSeen{}, []int64{0, 5, 20, 1, 21}, []int64{0, 5, 20, 20, 21}},
		{"average", &mail.MovingAverage{}, []int64{0, 5, 20, 1, 5}, []int64{0, 3, 9, 7, 7}},
		{"average forgets", &mail.MovingAverage{}, append([]int64{1 << 48}, make([]int64, 16)...),
			append([]int64{1 << 48, 1 << 47, (1<<48 + 2) / 3, 1 << 46}, nil...)},
	} {
		var last int64
		for i, size := range c.sizes {
			if last = c.policy.MinSize(size); i < len(c.want) && last != c.want[i] {
				t.Errorf("%s: after %v it is %d, want %d", c.what, c.sizes[:i+1], last, c.want[i])
			}
		}
		if len(c.sizes) > 16 && last != 0 {
			t.Errorf("%s: after %d it is %d", c.what, len(c.sizes), last)
		}
	}
}

// Letters that are padded to one size look alike; private header and body are
// padded together.
func TestPaddedLettersLookAlike(t *testing.T) {
	sk := pair(t, 1)
	o := office(t, sk)
	o.Size = mail.FixedSize(1000)
	size := len(post(t, o, "", mail.Options{}))
	for _, opts := range []mail.Options{{}, {PrivateHeader: make([]byte, 900)}} {
		for _, body := range []string{"", "x", strings.Repeat("x", 100)} {
			b := post(t, o, body, opts)
			l := open(t, b, one{sk})
			if len(b) != size || readAll(t, l.Body) != body || len(l.PrivateHeader) != len(opts.PrivateHeader) {
				t.Errorf("a letter of %d and %d bytes has %d, want %d", len(opts.PrivateHeader), len(body), len(b), size)
			}
		}
	}
}

// Without a policy the average of earlier letters hides a small one.
func TestDefaultPolicy(t *testing.T) {
	sk := pair(t, 1)
	o := office(t, sk)
	large, small := len(post(t, o, strings.Repeat("x", 1000), mail.Options{})), len(post(t, o, "", mail.Options{}))
	if large-small != 500 {
		t.Errorf("letters of 1000 and 0 bytes differ by %d, want 500", large-small)
	}
}

// However much a policy asks for, padding ends somewhere.
func TestPaddingLimit(t *testing.T) {
	sk := pair(t, 1)
	o := office(t, sk)
	o.Size = mail.FixedSize(1 << 62)
	if n := len(post(t, o, "x", mail.Options{})); n < mail.MaxPaddedBytes || n > mail.MaxPaddedBytes+100_000 {
		t.Errorf("the letter has %d bytes", n)
	}
}
