package record

import "testing"

// SealValue seals a value as if it were a custodian's share, with bytes at its
// end to make it whole.
func SealValue(t testing.TB, g *Generation, custodian string, to, value []byte, end ...byte) []byte {
	t.Helper()
	b, err := seal(to, g.info(handedLabel, custodian), append(value, end...))
	if err != nil {
		t.Fatal(err)
	}
	return b
}
