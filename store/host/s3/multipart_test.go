package s3_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/s3"
	"github.com/coffer-fs/coffer/store/host/s3/s3test"
)

// distant is a store behind a network: each request takes latency, and each connection
// passes so many bytes a second to it.
type distant struct {
	http.Handler
	latency time.Duration
	rate    int // 0: as fast as it goes
}

// ServeHTTP implements http.Handler.
func (d distant) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	time.Sleep(d.latency)
	if d.rate > 0 {
		r.Body = io.NopCloser(&paced{r.Body, time.Now(), 0, d.rate})
	}
	d.Handler.ServeHTTP(w, r)
}

// paced is a body that comes at a rate.
type paced struct {
	io.Reader
	began time.Time
	read  int
	rate  int
}

func (p *paced) Read(b []byte) (int, error) {
	n, err := p.Reader.Read(b[:min(len(b), 64<<10)])
	p.read += n
	time.Sleep(time.Until(p.began.Add(time.Duration(float64(p.read) / float64(p.rate) * float64(time.Second)))))
	return n, err
}

// BenchmarkSegment sends the bytes of a segment of 64 MiB to a store 20 ms away: as the
// host does, in objects of 16 MiB side by side, in one PUT, and in multipart uploads, with
// connections that are as fast as they go, and with such as pass 50 MB/s each.
func BenchmarkSegment(b *testing.B) { compareUploads(b, host.MaxSegmentSize) }

// BenchmarkObject does it with 16 MiB, which the host sends in one object.
func BenchmarkObject(b *testing.B) { compareUploads(b, 16<<20) }

func compareUploads(b *testing.B, size int) {
	g := s3test.NewGateway(b)
	body := pattern(size, 1)
	for _, rate := range []int{0, 50_000_000} {
		h := httptest.NewServer(distant{g, 20 * time.Millisecond, rate})
		defer h.Close()
		c, err := minio.New(strings.TrimPrefix(h.URL, "http://"), &minio.Options{
			Creds: credentials.NewStaticV4("test", "testtest", ""), Region: "us-east-1",
		})
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("rate=%d/host", rate), func(b *testing.B) { segmentByHost(b, h.URL, body) })
		for name, o := range map[string]minio.PutObjectOptions{
			"one-put":         {DisableMultipart: true},
			"multipart-4x16M": {PartSize: 16 << 20, NumThreads: 4},
			"multipart-8x8M":  {PartSize: 8 << 20, NumThreads: 8},
			"multipart-5M":    {PartSize: 5 << 20, NumThreads: 16},
		} {
			b.Run(fmt.Sprintf("rate=%d/%s", rate, name), func(b *testing.B) {
				b.SetBytes(int64(len(body)))
				for n := 0; b.Loop(); n++ { // a new object each time, as the host makes them
					if _, err := c.PutObject(context.Background(), "bucket", fmt.Sprintf("%d/%s/%d", rate, name, n), bytes.NewReader(body), int64(len(body)), o); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// segmentByHost appends a segment, and syncs it.
func segmentByHost(b *testing.B, endpoint string, body []byte) {
	o := options(endpoint)
	o.CacheBytes = 1 << 20
	url := fmt.Sprintf("s3://bucket/bench%d", time.Now().UnixNano())
	create(b, url, o)
	v, err := s3.Open(ctx, url, o)
	if err != nil {
		b.Fatal(err)
	}
	defer v.Close()
	w, err := v.Acquire(ctx, host.AcquireOptions{})
	if err != nil {
		b.Fatal(err)
	}
	defer w.Release(ctx)
	b.SetBytes(int64(len(body)))
	id := host.SegmentID(0)
	for b.Loop() {
		id++
		if err := w.Create(ctx, id, host.MaxSegmentSize); err != nil {
			b.Fatal(err)
		}
		for off := 0; off < len(body); off += 1 << 20 {
			if err := w.Append(ctx, id, int64(off), body[off:off+1<<20]); err != nil {
				b.Fatal(err)
			}
		}
		if err := w.Sync(ctx, id); err != nil {
			b.Fatal(err)
		}
	}
}
