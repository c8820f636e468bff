package s3

import (
	"fmt"
	"net"
	"net/url"
	"strings"
)

const scheme = "s3://"

// maxPrefix is the longest prefix of a volume, in bytes.
const maxPrefix = 512

// address is a parsed URL of a volume.
type address struct {
	bucket string
	prefix string // of the names of its objects
}

// IsURL reports whether a volume is named by an address of this package.
func IsURL(s string) bool { return strings.HasPrefix(s, scheme) }

// parseURL reads s3://BUCKET/PREFIX.
func parseURL(s string) (a address, err error) {
	bucket, prefix, _ := strings.Cut(strings.TrimPrefix(s, scheme), "/")
	prefix = strings.TrimSuffix(prefix, "/")
	bad := !IsURL(s) || !nameOf(bucket, "") || len(bucket) < 3 || len(bucket) > 63 ||
		prefix == "" || len(prefix) > maxPrefix || !nameOf(prefix, "/_!-")
	for part := range strings.SplitSeq(prefix, "/") {
		bad = bad || part == "" || strings.Trim(part, ".") == ""
	}
	if bad {
		return a, fmt.Errorf("%q is not s3://BUCKET/PREFIX, of letters, digits, dots, dashes and underscores: %w", s, ErrURL)
	}
	return address{bucket, prefix}, nil
}

// nameOf reports whether s has no other characters than letters, digits, dots,
// dashes and more.
func nameOf(s, more string) bool {
	for i := range len(s) {
		c := s[i]
		alnum := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !alnum && c != '.' && c != '-' && !strings.Contains(more, string(c)) {
			return false
		}
	}
	return true
}

// shown is an endpoint without a password that somebody put into it.
func shown(endpoint string) string {
	if i := strings.LastIndexByte(endpoint, '@'); i >= 0 {
		return "..." + endpoint[i:]
	}
	return endpoint
}

// parseEndpoint reads where the store is.
func parseEndpoint(s, region string) (hostPort string, secure bool, err error) {
	if s == "" {
		return "s3." + region + ".amazonaws.com", true, nil
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "" ||
		u.Scheme != "http" && u.Scheme != "https" {
		return "", false, fmt.Errorf("endpoint %q is not https://HOST[:PORT]: %w", shown(s), ErrURL)
	}
	if ip := net.ParseIP(u.Hostname()); u.Scheme == "http" && (ip == nil || !ip.IsLoopback()) {
		return "", false, fmt.Errorf("endpoint %q: without TLS only this machine can be reached: use https: %w", s, ErrURL)
	}
	return u.Host, u.Scheme == "https", nil
}
