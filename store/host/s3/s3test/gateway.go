package s3test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// What it accepts.
const accessKey, secretKey = "test", "testtest"

// Gateway is a real S3 server in a process of its own, behind a proxy that may
// spoil what passes.
type Gateway struct {
	URL string

	t      testing.TB
	binary string
	dir    string
	proxy  *proxy
	server *exec.Cmd
	client *minio.Client
}

// NewGateway starts a server that ends with the test. Where there is none to be
// started, the test is skipped.
func NewGateway(t testing.TB) *Gateway {
	t.Helper()
	binary := builtServer(t, "versitygw", "v1.8.0")
	dir, err := os.MkdirTemp("", "gw") // short enough for a socket
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "root", "bucket"), 0o700); err != nil {
		t.Fatal(err)
	}
	g := &Gateway{t: t, binary: binary, dir: dir, proxy: newProxy(t, filepath.Join(dir, "s"))}
	g.URL = g.proxy.url
	g.client, err = minio.New(strings.TrimPrefix(g.URL, "http://"), &minio.Options{
		Creds: credentials.NewStaticV4(accessKey, secretKey, ""), Region: "us-east-1",
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		g.Kill()
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	g.Start()
	return g
}

// Start starts the server and waits until it answers.
func (g *Gateway) Start() {
	g.t.Helper()
	socket := filepath.Join(g.dir, "s")
	_ = os.Remove(socket)
	g.server = exec.Command(g.binary, "--quiet", "--port", socket, "posix", filepath.Join(g.dir, "root"))
	g.server.Env = append(os.Environ(), "ROOT_ACCESS_KEY="+accessKey, "ROOT_SECRET_KEY="+secretKey)
	g.server.Stderr = os.Stderr
	if err := g.server.Start(); err != nil {
		g.t.Fatal(err)
	}
	awaitServer(g.t, "unix", socket)
}

// Kill ends the server at once.
func (g *Gateway) Kill() {
	_ = g.server.Process.Kill()
	_ = g.server.Wait()
}

// Spoil has f say what becomes of each request; nil ends that.
func (g *Gateway) Spoil(f func(*http.Request) Spoil) { g.proxy.spoil(f) }

// ServeHTTP implements http.Handler: the server, behind what spoils it.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) { g.proxy.ServeHTTP(w, r) }

// bucketName is that of the only bucket.
const bucketName = "bucket"

// Objects gives the names of all objects that begin so, in order.
func (g *Gateway) Objects(prefix string) (names []string) {
	g.t.Helper()
	for o := range g.client.ListObjectsIter(context.Background(), bucketName, minio.ListObjectsOptions{Prefix: prefix, Recursive: true}) {
		if o.Err != nil {
			g.t.Fatal(o.Err)
		}
		names = append(names, o.Key)
	}
	return names
}

// Get gives an object's bytes, nil if it is not there.
func (g *Gateway) Get(name string) []byte {
	g.t.Helper()
	o, err := g.client.GetObject(context.Background(), bucketName, name, minio.GetObjectOptions{})
	if err != nil {
		g.t.Fatal(err)
	}
	defer o.Close()
	b, err := io.ReadAll(o)
	if minio.ToErrorResponse(err).StatusCode == http.StatusNotFound {
		return nil
	}
	if err != nil {
		g.t.Fatal(err)
	}
	return b
}

// Put replaces an object, or deletes it if data is nil.
func (g *Gateway) Put(name string, data []byte) {
	g.t.Helper()
	var err error
	if data == nil {
		err = g.client.RemoveObject(context.Background(), bucketName, name, minio.RemoveObjectOptions{})
	} else {
		_, err = g.client.PutObject(context.Background(), bucketName, name, bytes.NewReader(data), int64(len(data)), minio.PutObjectOptions{DisableMultipart: true})
	}
	if err != nil {
		g.t.Fatal(err)
	}
}

// Damage replaces an object's bytes on the server's disk: its tag and its size stay
// what they were said to be.
func (g *Gateway) Damage(name string, data []byte) {
	g.t.Helper()
	if err := os.WriteFile(filepath.Join(g.dir, "root", bucketName, filepath.FromSlash(name)), data, 0o600); err != nil {
		g.t.Fatal(err)
	}
}
