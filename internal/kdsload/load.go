package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// load sends requests on some connections.
type load struct {
	url      string
	requests []request
	clients  int
}

// run sends requests for a time, or so many; with a rate, each is due at its moment,
// and its time counts from there, also if no connection was free.
func (l *load) run(ctx context.Context, d time.Duration, total int, rate float64) (result, error) {
	var (
		mu   sync.Mutex
		all  []time.Duration
		next atomic.Int64
	)
	begun := time.Now()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var group sync.WaitGroup
	for range l.clients {
		group.Go(func() {
			took, err := l.client(ctx, func() (time.Time, int, bool) {
				n := int(next.Add(1)) - 1
				due := time.Now()
				if rate > 0 {
					due = begun.Add(time.Duration(float64(n) / rate * float64(time.Second)))
				}
				return due, n, total > 0 && n < total || total == 0 && due.Before(begun.Add(d))
			})
			mu.Lock()
			defer mu.Unlock()
			all = append(all, took...)
			if err != nil {
				stop(err) // the first one is told
			}
		})
	}
	group.Wait()
	return result{all, time.Since(begun)}, context.Cause(ctx)
}

// client has one connection.
func (l *load) client(ctx context.Context, next func() (due time.Time, n int, more bool)) (took []time.Duration, err error) {
	c, err := net.Dial("tcp", strings.TrimPrefix(l.url, "http://"))
	if err != nil {
		return nil, err
	}
	defer c.Close()
	in := bufio.NewReaderSize(c, 16<<10)
	for ctx.Err() == nil {
		due, n, more := next()
		if !more {
			return took, nil
		}
		time.Sleep(time.Until(due))
		r := l.requests[n%len(l.requests)]
		if err := r.ask(c, in, n%97 == 0); err != nil {
			return took, err
		}
		took = append(took, time.Since(due))
	}
	return took, ctx.Err()
}

// ask sends the request and reads the answer; if told to, it opens the key in it.
func (r request) ask(c net.Conn, in *bufio.Reader, open bool) error {
	if _, err := c.Write(r.text); err != nil {
		return err
	}
	a, err := http.ReadResponse(in, nil)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(a.Body)
	if err != nil {
		return err
	}
	if a.StatusCode != http.StatusOK {
		return fmt.Errorf("%w: status %d: %.300s", errAnswer, a.StatusCode, body)
	}
	if !open {
		return nil
	}
	return r.check(body)
}
