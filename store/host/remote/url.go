package remote

import (
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/coffer-fs/coffer/store/host/remote/wire"
)

// address is a parsed URL of a volume.
type address struct {
	network string // unix or tcp
	dial    string // what is dialled
	base    string // what requests begin with
	tls     bool
	volume  string
}

// IsURL reports whether a volume is named by an address of this package, and not
// by a directory: ./unix:x is a directory.
func IsURL(s string) bool {
	for _, scheme := range []string{"unix:", "http://", "https://", "tcp://"} {
		if strings.HasPrefix(s, scheme) {
			return true
		}
	}
	return false
}

// parseURL reads one of
//
//	unix:SOCKET#VOLUME
//	https://HOST:PORT/VOLUME
//	http://LOOPBACK:PORT/VOLUME
//	tcp://HOST[:PORT]/VOLUME     as https, at port 8480 if none is given
func parseURL(s string) (a address, err error) {
	if rest, ok := strings.CutPrefix(s, "unix:"); ok {
		i := strings.LastIndexByte(rest, '#')
		if i < 1 {
			return a, fmt.Errorf("%q is not unix:SOCKET#VOLUME: %w", s, ErrURL)
		}
		a = address{network: "unix", dial: absPath(rest[:i]), base: "http://unix", volume: rest[i+1:]}
	} else if a, err = parseTCP(s); err != nil {
		return a, err
	}
	if err := wire.CheckVolume(a.volume); err != nil {
		return a, fmt.Errorf("%q: %w: %w", s, ErrURL, err)
	}
	return a, nil
}

func parseTCP(s string) (a address, err error) {
	u, err := url.Parse(s)
	if err == nil && u.Scheme == "tcp" {
		if u.Scheme = "https"; u.Port() == "" && u.Host != "" {
			u.Host = net.JoinHostPort(u.Hostname(), defaultPort)
		}
	}
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Scheme != "http" && u.Scheme != "https" {
		return a, fmt.Errorf("%q is neither unix:SOCKET#VOLUME nor https://HOST:PORT/VOLUME: %w", s, ErrURL)
	}
	if u.Port() == "" {
		return a, fmt.Errorf("%q lacks a port: %w", s, ErrURL)
	}
	a = address{
		network: "tcp", dial: u.Host, base: u.Scheme + "://" + u.Host, tls: u.Scheme == "https",
		volume: strings.TrimPrefix(u.Path, "/"),
	}
	if !a.tls && !isLoopback(u.Hostname()) {
		return a, fmt.Errorf("%q: without TLS only this machine can be reached: use https: %w", s, ErrURL)
	}
	return a, nil
}

// defaultPort is that of tcp:// addresses.
const defaultPort = "8480"

// isLoopback takes addresses only: what a name means is the network's to say.
func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// AbsURL is a URL that means the same in every directory.
func AbsURL(s string) string {
	rest, ok := strings.CutPrefix(s, "unix:")
	i := strings.LastIndexByte(rest, '#')
	if !ok || i < 1 {
		return s
	}
	return "unix:" + absPath(rest[:i]) + rest[i:]
}

// maxSocketPath is the longest path that a socket can be reached by.
const maxSocketPath = 107

// absPath lets a program that goes to another directory find its socket again,
// unless only the short path leads there.
func absPath(path string) string {
	if a, err := filepath.Abs(path); err == nil && len(a) <= maxSocketPath {
		return a
	}
	return path
}
