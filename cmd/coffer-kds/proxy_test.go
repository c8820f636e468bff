package main

import (
	"io"
	"net"
	"sync"
	"testing"
)

// proxy passes connections on, until it is cut: then nothing goes through, in
// either direction, and nobody is told.
type proxy struct {
	addr, to string

	mu    sync.Mutex // guards what follows
	off   bool
	on    *sync.Cond // off became false
	conns map[net.Conn]bool
}

func newProxy(t *testing.T, to string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	p := &proxy{addr: l.Addr().String(), to: to, conns: map[net.Conn]bool{}}
	p.on = sync.NewCond(&p.mu)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go p.pass(c)
		}
	}()
	t.Cleanup(func() { _ = l.Close(); p.cut(false) })
	return p
}

// cut stops everything; who waits learns that the connection is gone when it is
// put back.
func (p *proxy) cut(off bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.off = off
	if !off {
		p.on.Broadcast()
		for c := range p.conns {
			_ = c.Close()
		}
	}
}

// wait returns when the proxy is not cut; false if it was.
func (p *proxy) wait() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	was := p.off
	for p.off {
		p.on.Wait()
	}
	return !was
}

func (p *proxy) pass(c net.Conn) {
	defer c.Close()
	if !p.wait() {
		return
	}
	out, err := net.Dial("tcp", p.to)
	if err != nil {
		return
	}
	defer out.Close()
	p.hold(c, out, true)
	defer p.hold(c, out, false)
	done := make(chan struct{}, 2)
	for _, d := range [][2]net.Conn{{c, out}, {out, c}} {
		go func() {
			defer func() { done <- struct{}{} }()
			b := make([]byte, 32<<10)
			for {
				n, err := d[0].Read(b)
				if n > 0 {
					if !p.wait() {
						return
					}
					if _, err := d[1].Write(b[:n]); err != nil {
						return
					}
				}
				if err == io.EOF {
					_ = d[1].(*net.TCPConn).CloseWrite()
				}
				if err != nil {
					return
				}
			}
		}()
	}
	<-done
	<-done
}

func (p *proxy) hold(a, b net.Conn, on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range []net.Conn{a, b} {
		if on {
			p.conns[c] = true
		} else {
			delete(p.conns, c)
		}
	}
}
