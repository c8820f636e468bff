package coffer_test

import (
	"context"
	"fmt"
	"log"
	"path/filepath"

	"github.com/coffer-fs/coffer"
	"github.com/coffer-fs/coffer/config"
	"github.com/coffer-fs/coffer/kds/attest/platform"
	"github.com/coffer-fs/coffer/store/host/local"
)

// An enclave makes a volume with the key that the KDS has for its signer and
// product, and keeps a file in it.
func ExampleOpen() {
	dir, kdsURL := exampleKDS() // a directory, and coffer-kds serve

	cfg, _, err := config.Load("testdata/example.hcl") // measured with the enclave
	check(err)
	enclave, err := platform.Open(platform.Sim, platform.Options{CPU: filepath.Join(dir, "cpu"), Config: cfg.Raw()})
	check(err)
	path := filepath.Join(dir, "volume")
	check(local.Create(path)) // once
	volume, err := local.Open(path)
	check(err)
	defer volume.Close()

	ctx := context.Background()
	o := coffer.Options{Config: cfg, Platform: enclave, Volume: volume, KDSURL: kdsURL}
	check(coffer.Create(ctx, o, 0, 0)) // once

	fs, err := coffer.Open(ctx, o)
	check(err)
	check(fs.WriteFile("/greeting", []byte("hello, next start"), 0o600))
	b, err := fs.ReadFile("/greeting")
	check(err)
	fmt.Println(string(b))
	check(fs.Close()) // everything is on the disk
	// Output: hello, next start
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
