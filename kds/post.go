package kds

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/coffer-fs/coffer/kds/internal/strictjson"
)

// post sends a body to one node, which has most for it, and decodes the answer.
// It judges nothing.
func (c *Client) post(ctx context.Context, most time.Duration, to *url.URL, body []byte, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	begun := time.Now()
	status, header, b, err := c.send(ctx, to.String(), body)
	c.logger().LogAttrs(ctx, slog.LevelDebug, "kds request", slog.String("path", path.Base(to.Path)),
		slog.Int("status", status), slog.Duration("took", time.Since(begun)), slog.Bool("failed", err != nil))
	switch {
	case err != nil:
		return transport(err, most)
	case status != http.StatusOK:
		return Refused(status, header, b)
	case len(b) > MaxAnswerBytes:
		return fmt.Errorf("%w: larger than %d bytes", ErrDamaged, MaxAnswerBytes)
	}
	if err := unmarshal(b, MaxAnswerBytes, answer); err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return nil
}

func (c *Client) timeout() time.Duration {
	if c.Timeout <= 0 {
		return DefaultTimeout
	}
	return c.Timeout
}

// send returns status, header and up to MaxAnswerBytes+1 bytes of the body.
func (c *Client) send(ctx context.Context, to string, body []byte) (int, http.Header, []byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(body))
	if err != nil {
		return 0, nil, nil, err
	}
	r.Header.Set(VersionHeader, Version)
	r.Header.Set("Content-Type", "application/json")
	answer, err := c.http().Do(r)
	if err != nil {
		return 0, nil, nil, err
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(io.LimitReader(answer.Body, MaxAnswerBytes+1))
	return answer.StatusCode, answer.Header, b, err
}

// http is the client's own, without redirects.
func (c *Client) http() *http.Client {
	h := http.Client{}
	if c.HTTP != nil {
		h = *c.HTTP
	}
	h.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &h
}

func (c *Client) logger() *slog.Logger {
	if c.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return c.Logger
}

// transport tells an absent KDS from a slow one.
func transport(err error, timeout time.Duration) error {
	var n net.Error
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &n) && n.Timeout():
		return fmt.Errorf("%w: waited %v: %w", ErrTimeout, timeout, err)
	case errors.Is(err, context.Canceled):
		return err
	}
	return fmt.Errorf("%w: %w", ErrUnreachable, err)
}

// Refused is an answer other than 200 as an error, with what may be shown of it.
func Refused(status int, header http.Header, body []byte) error {
	var r Refusal
	if len(body) > MaxAnswerBytes || strictjson.Unmarshal(body, &r) != nil || r.Reason == "" {
		r.Reason = "no reason is given: " + http.StatusText(status)
	}
	reason := strings.ToValidUTF8(r.Reason[:min(len(r.Reason), MaxReasonBytes)], "")
	reason = strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) {
			return ' '
		}
		return c
	}, reason)
	return &RefusedError{Status: status, Reason: reason, RetryAfter: retryAfter(header)}
}

// retryAfter reads the header of that name, in seconds; 0 if there is none.
func retryAfter(h http.Header) time.Duration {
	n, err := strconv.ParseUint(h.Get("Retry-After"), 10, 31)
	if err != nil {
		return 0
	}
	return min(time.Duration(n)*time.Second, MaxRetryAfter)
}
