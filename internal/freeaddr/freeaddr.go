// Package freeaddr gives tests addresses that nobody listens at, and that nobody who
// asks for any free port is given meanwhile.
package freeaddr

import (
	"fmt"
	"math/rand/v2"
	"net"
)

// Ports below those that systems give away by themselves: from 32768 on Linux.
const (
	first = 10_000
	last  = 32_000
	tries = 100
)

// New is an address of the loopback interface at which nobody listens.
func New() (string, error) {
	var err error
	for range tries {
		var l net.Listener
		address := fmt.Sprintf("127.0.0.1:%d", first+rand.IntN(last-first))
		if l, err = net.Listen("tcp", address); err == nil {
			return address, l.Close()
		}
	}
	return "", err
}
