package s3

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"

	"github.com/cenkalti/backoff/v5"
	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

const (
	// pauseMax bounds the pauses between tries, before jitter.
	pauseMax = 2 * time.Second
	// maxReason is how much of the store's words is shown.
	maxReason = 256
)

// objects are the objects of one volume. Each method makes one request, and makes
// it again for as long as that may help.
type objects struct {
	client   *minio.Core
	http     *transport
	bucket   string
	prefix   string
	patience time.Duration
	pause    time.Duration // the first before another try
}

func newObjects(a address, o Options) (*objects, error) {
	endpoint, secure, err := parseEndpoint(o.Endpoint, o.Region)
	if err != nil {
		return nil, err
	}
	t := newTransport(o)
	creds := credentials.NewStaticV4(o.AccessKey, o.SecretKey, "")
	if o.AccessKey == "" {
		creds = credentials.NewChainCredentials([]credentials.Provider{
			&credentials.EnvAWS{}, &credentials.FileAWSCredentials{}, &credentials.IAM{Client: &http.Client{Timeout: o.Timeout}},
		})
	}
	c, err := minio.NewCore(endpoint, &minio.Options{
		Creds: creds, Secure: secure, Transport: t, Region: o.Region, MaxRetries: 1, // retries are ours: see retry
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrURL, err)
	}
	return &objects{client: c, http: t, bucket: a.bucket, prefix: a.prefix + "/", patience: o.Patience, pause: o.Pause}, nil
}

func (b *objects) close() { b.http.close() }

// condition is one of a PUT. The zero value has none.
type condition struct {
	absent bool   // there is no such object
	match  string // the object has this tag
}

// put makes or replaces an object, and returns its tag. errCondition says that the
// condition does not hold now, of which an earlier try of the same call may be the
// cause. After another error nobody knows.
func (b *objects) put(ctx context.Context, name string, p []byte, c condition) (tag string, err error) {
	sum := sha256.Sum256(p)
	var o minio.PutObjectOptions
	o.DisableContentSha256 = true // of chunks: the whole has one
	o.ContentType = "application/octet-stream"
	switch {
	case c.absent:
		o.SetMatchETagExcept("*")
	case c.match != "":
		o.SetMatchETag(c.match)
	}
	err = b.retry(ctx, "put "+name, func(ctx context.Context) error {
		info, err := b.client.PutObject(ctx, b.bucket, b.prefix+name, bytes.NewReader(p), int64(len(p)), "", hex.EncodeToString(sum[:]), o)
		if err == nil && !isTag(info.ETag) {
			err = &answerError{fmt.Errorf("put %s: tag %.64q", name, info.ETag)}
		}
		tag = info.ETag
		return err
	})
	if c == (condition{}) {
		err = unasked(err, errCondition, errAbsent)
	}
	return tag, unasked(err, errSame)
}

// unasked is an error, or a wrong answer if it is one of those that the request did not
// ask for.
func unasked(err error, wrong ...error) error {
	for _, e := range wrong {
		if errors.Is(err, e) {
			return &answerError{fmt.Errorf("no answer to this request: %w", err)}
		}
	}
	return err
}

// isTag reports whether a tag can be put into a header.
func isTag(tag string) bool {
	bad := func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '"' }
	return tag != "" && len(tag) <= 128 && strings.IndexFunc(tag, bad) < 0
}

// get reads a whole object of up to limit bytes; errSame if it has that tag,
// errAbsent if there is none.
func (b *objects) get(ctx context.Context, name string, limit int, unless string) (p []byte, tag string, err error) {
	var o minio.GetObjectOptions
	if unless != "" {
		if err := o.SetMatchETagExcept(unless); err != nil {
			return nil, "", err
		}
	}
	err = b.retry(ctx, "get "+name, func(ctx context.Context) error {
		r, info, _, err := b.client.GetObject(withLimit(ctx, int64(limit)), b.bucket, b.prefix+name, o)
		if err != nil {
			return err
		}
		defer r.Close()
		tag = info.ETag
		if !isTag(tag) || info.Size < 0 || info.Size > int64(limit) {
			return &answerError{fmt.Errorf("get %s: %d bytes, tag %.64q", name, info.Size, tag)}
		}
		p = make([]byte, info.Size)
		_, err = io.ReadFull(r, p)
		return err
	})
	if unless == "" {
		err = unasked(err, errSame)
	}
	return p, tag, unasked(err, errCondition)
}

// read fills p from an object at an offset. It is one ranged request.
func (b *objects) read(ctx context.Context, name string, off int64, p []byte) error {
	var o minio.GetObjectOptions
	if err := o.SetRange(off, off+int64(len(p))-1); err != nil {
		return err
	}
	err := b.retry(ctx, "read "+name, func(ctx context.Context) error {
		r, info, _, err := b.client.GetObject(withLimit(ctx, int64(len(p))), b.bucket, b.prefix+name, o)
		if err != nil {
			return err
		}
		defer r.Close()
		if info.Size != int64(len(p)) {
			return &answerError{fmt.Errorf("read %s: %d bytes, where %d were asked for", name, info.Size, len(p))}
		}
		_, err = io.ReadFull(r, p)
		return err
	})
	return unasked(err, errSame, errCondition)
}

// maxDeletes is how many deletes are under way at once. The store charges nothing
// for them.
const maxDeletes = 16

// delete removes objects, as far as it can: what is left is found by a sweep.
func (b *objects) delete(ctx context.Context, names []string) error {
	var (
		group sync.WaitGroup
		mu    sync.Mutex
		errs  []error
	)
	slots := make(chan struct{}, maxDeletes)
	for _, name := range names {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			err := b.retry(ctx, "delete "+name, func(ctx context.Context) error {
				return b.client.RemoveObject(ctx, b.bucket, b.prefix+name, minio.RemoveObjectOptions{})
			})
			if err != nil && !errors.Is(err, errAbsent) {
				mu.Lock()
				errs = append(errs, err)
				mu.Unlock()
			}
		})
	}
	group.Wait()
	return errors.Join(errs...)
}

// list calls fn for the names below a prefix of ours, without it, and the sizes, until
// fn says false. Nothing but a sweep lists.
func (b *objects) list(ctx context.Context, below string, fn func(name string, size int64) bool) error {
	prefix, last := b.prefix+below, ""
	return b.retry(ctx, "list "+below, func(ctx context.Context) error { // goes on where the try before was cut off
		var empty atomic.Int32
		ctx, cancel := context.WithCancel(withPages(withLimit(ctx, maxListPage), &empty))
		defer cancel()
		o := minio.ListObjectsOptions{Prefix: prefix, Recursive: true}
		if last != "" {
			o.StartAfter = prefix + last
		}
		for o := range b.client.ListObjectsIter(ctx, b.bucket, o) {
			if o.Err != nil {
				return o.Err
			}
			name, ok := strings.CutPrefix(o.Key, prefix)
			if !ok || name <= last { // pages that go back would never end
				return &answerError{fmt.Errorf("list %s: %.128q after %.128q", below, name, last)}
			}
			last = name
			empty.Store(0)
			if !fn(name, o.Size) {
				return nil
			}
		}
		return ctx.Err()
	})
}

// retry makes a request until there is an answer, with pauses that grow and
// jitter. It ends with the context, or when the store was not heard of for the
// time of patience.
func (b *objects) retry(ctx context.Context, what string, try func(context.Context) error) error {
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = b.pause, pauseMax
	sent := false
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		if err := ctx.Err(); err != nil {
			return struct{}{}, backoff.Permanent(err)
		}
		err := b.classify(what, oneTry(ctx, try))
		if err != nil && !isAgain(err) {
			return struct{}{}, backoff.Permanent(err)
		}
		sent = true
		return struct{}{}, err
	}, backoff.WithBackOff(pause), backoff.WithMaxElapsedTime(b.patience))
	var p *backoff.PermanentError
	if errors.As(err, &p) {
		err = p.Err
	}
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil && sent:
		return fmt.Errorf("%w: %w", ErrUncertain, context.Cause(ctx))
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case isAgain(err):
		return fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	return err
}

// oneTry makes a request once.
func oneTry(ctx context.Context, try func(context.Context) error) error {
	one, end := withTry(ctx)
	defer end(nil)
	err := try(one)
	var failed failedTry
	if err != nil && errors.As(context.Cause(one), &failed) {
		return failed.error
	}
	return err
}

// againError: the request may or may not have had its effect, and may be made
// again.
type againError struct{ err error }

func (e *againError) Error() string { return e.err.Error() }
func (e *againError) Unwrap() error { return e.err }

func isAgain(err error) bool {
	var again *againError
	return errors.As(err, &again)
}

// answerError: what came back makes no sense.
type answerError struct{ err error }

func (e *answerError) Error() string { return ErrAnswer.Error() + ": " + e.err.Error() }
func (e *answerError) Unwrap() error { return ErrAnswer }

// classify gives errors of a request the names of this package.
func (b *objects) classify(what string, err error) error {
	if err == nil {
		return nil
	}
	var answer *answerError
	if errors.As(err, &answer) {
		return err
	}
	var certificate *tls.CertificateVerificationError
	if errors.As(err, &certificate) {
		return fmt.Errorf("%s: %w: %w", what, ErrCertificate, certificate.Err)
	}
	var r minio.ErrorResponse
	if !errors.As(err, &r) || r.StatusCode == 0 {
		return &againError{fmt.Errorf("%s: %w", what, err)}
	}
	words := printable(r.Code + ": " + r.Message)
	switch status := r.StatusCode; {
	case status == http.StatusNotModified:
		return errSame
	case status == http.StatusPreconditionFailed:
		return fmt.Errorf("%s: %w", what, errCondition)
	case status == http.StatusNotFound:
		return fmt.Errorf("%s: %s: %w", what, words, errAbsent)
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return fmt.Errorf("%s: %s: %w", what, words, ErrUnauthorized)
	case isTransient(status):
		return &againError{fmt.Errorf("%s: status %d, %s", what, status, words)}
	}
	return &answerError{fmt.Errorf("%s: status %d, %s", what, r.StatusCode, words)}
}

// printable is what may be shown of a text of the store.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, strings.ToValidUTF8(s[:min(len(s), maxReason)], "?"))
	return s
}
