package kdstest

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
)

// Shows reports whether a text holds any eight bytes of a secret in a row: as
// they are, or in hexadecimal, base64 or decimal.
func Shows(text string, secret []byte) bool {
	lower := strings.ToLower(text)
	for i := 0; i+8 <= len(secret); i++ {
		part := secret[i : i+8]
		if strings.Contains(text, string(part)) || strings.Contains(lower, hex.EncodeToString(part)) ||
			strings.Contains(text, strings.Trim(fmt.Sprint(part), "[]")) {
			return true
		}
		if i+9 <= len(secret) && strings.Contains(text, base64.RawStdEncoding.EncodeToString(secret[i:i+9])) {
			return true
		}
	}
	return false
}
