package s3test

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coffer-fs/coffer/internal/freeaddr"
)

// builtServer is where make puts a server (see the Makefile); the test is skipped where
// it did not.
func builtServer(t testing.TB, name, version string) string {
	t.Helper()
	path := os.Getenv(strings.ToUpper(name))
	if path == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			t.Fatal(err)
		}
		path = filepath.Join(cache, "coffer", name+"-"+version, name)
	}
	_, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		t.Skipf("there is no S3 server to test with: make %s builds one", name)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// awaitServer waits until a server that was started answers.
func awaitServer(t testing.TB, network, address string) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); ; {
		c, err := net.Dial(network, address)
		if err == nil {
			c.Close()
			return
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// NewGofakes3 starts another implementation of S3, of other people, in a process of its
// own that ends with the test, and returns its URL. It keeps a bucket in memory. Where
// there is none to be started, the test is skipped.
func NewGofakes3(t testing.TB) (url string) {
	t.Helper()
	binary := builtServer(t, "gofakes3", "v1.2.0")
	address, err := freeaddr.New()
	if err != nil {
		t.Fatal(err)
	}
	server := exec.Command(binary, "-host", address, "-backend", "memory", "-initialbucket", bucketName, "-quiet")
	server.Stderr = os.Stderr
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	})
	awaitServer(t, "tcp", address)
	return "http://" + address
}
