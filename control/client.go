package control

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"unicode"
)

// maxAnswerBytes bounds an answer.
const maxAnswerBytes = 16 << 20

// Client asks whoever serves a volume.
type Client struct{ http *http.Client }

// Dial finds who serves a volume. ErrNobody.
func Dial(ctx context.Context, volume string) (*Client, error) {
	name := socketName(volume)
	for _, uid := range owners(volume) {
		for _, p := range places(uid) {
			c, err := dial(ctx, p, name)
			if err != nil {
				continue // nobody there, or nobody to be trusted
			}
			_ = c.Close()
			return &Client{&http.Client{Transport: &http.Transport{
				DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx, p, name) },
			}}}, nil
		}
	}
	return nil, fmt.Errorf("volume %q: %w", volume, ErrNobody)
}

// dial connects to the socket in a place, if it is that of the place's user.
func dial(ctx context.Context, p place, name string) (net.Conn, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", filepath.Join(p.dir(), name))
	if err != nil {
		return nil, err
	}
	if uid, err := peer(c.(*net.UnixConn)); err != nil || uid != p.uid {
		_ = c.Close()
		return nil, fmt.Errorf("the socket in %s is served by user %d", p.dir(), uid)
	}
	return c, nil
}

// Close lets go of connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Limits of what a failure says.
const (
	maxMessageBytes = 16 << 10
	maxExitCode     = 125 // beyond it are those of shells
)

// UnmarshalJSON leaves of a failure what may be shown and returned by a command: root
// asks processes of other users, who could write to his terminal or call it a success.
func (f *Failure) UnmarshalJSON(b []byte) error {
	type plain Failure
	if err := json.Unmarshal(b, (*plain)(f)); err != nil {
		return err
	}
	f.Message, f.Hint = printable(f.Message), printable(f.Hint)
	if f.Code <= 0 || f.Code > maxExitCode {
		f.Code = 1
	}
	return nil
}

func printable(s string) string {
	s = strings.ToValidUTF8(s[:min(len(s), maxMessageBytes)], "")
	return strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) {
			return ' '
		}
		return c
	}, s)
}

// Call asks for path with in, and decodes the answer into out. *Failure is what the
// one who was asked failed with.
func (c *Client) Call(ctx context.Context, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://volume"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	answer, err := c.http.Do(r)
	if err != nil {
		return fmt.Errorf("ask who has the volume open: %w", err)
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswerBytes))
	if err != nil {
		return fmt.Errorf("ask who has the volume open: %w", err)
	}
	switch answer.StatusCode {
	case http.StatusOK:
		err = json.Unmarshal(b, out)
	case http.StatusConflict:
		f := &Failure{}
		if err = json.Unmarshal(b, f); err == nil {
			return f
		}
	default:
		err = fmt.Errorf("%s for %s", answer.Status, path)
	}
	if err != nil {
		return fmt.Errorf("who has the volume open answers wrongly: %w", err)
	}
	return nil
}
