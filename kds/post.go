package kds

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"

	"github.com/coffer-fs/coffer/kds/internal/strictjson"
)

// post sends a request and decodes the answer. It judges nothing.
func (c *Client) post(ctx context.Context, path string, request, answer any) error {
	base, err := ParseURL(c.URL)
	if err != nil {
		return err
	}
	body, err := json.Marshal(request)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	timeout := c.Timeout
	if timeout <= 0 {
		timeout = DefaultTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()

	begun := time.Now()
	status, b, err := c.send(ctx, base.JoinPath(path).String(), body)
	c.logger().LogAttrs(ctx, slog.LevelDebug, "kds request", slog.String("path", path),
		slog.Int("status", status), slog.Duration("took", time.Since(begun)), slog.Bool("failed", err != nil))
	switch {
	case err != nil:
		return transport(err, timeout)
	case status != http.StatusOK:
		return refused(status, b)
	case len(b) > MaxAnswerBytes:
		return fmt.Errorf("%w: larger than %d bytes", ErrDamaged, MaxAnswerBytes)
	}
	if err := unmarshal(b, MaxAnswerBytes, answer); err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return nil
}

// ParseURL reads the address of a KDS.
func ParseURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrURL, err)
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("%w %q: it begins with http:// or https://", ErrURL, s)
	case u.Hostname() == "":
		return nil, fmt.Errorf("%w %q: it names no host", ErrURL, s)
	}
	return u, nil
}

// send returns the status and up to MaxAnswerBytes+1 bytes of the body.
func (c *Client) send(ctx context.Context, to string, body []byte) (int, []byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	r.Header.Set(VersionHeader, Version)
	r.Header.Set("Content-Type", "application/json")
	answer, err := c.http().Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(io.LimitReader(answer.Body, MaxAnswerBytes+1))
	return answer.StatusCode, b, err
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

// refused keeps what may be shown of a refusal.
func refused(status int, body []byte) error {
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
	return &RefusedError{Status: status, Reason: reason}
}
