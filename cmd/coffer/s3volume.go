package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/coffer-fs/coffer/config"
	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/s3"
)

// s3Flags say how to reach volumes in an object store. Credentials come from the
// environment, the shared file or the machine's role, never from flags.
type s3Flags struct {
	endpoint, region string
	caFile           string
	dir              string
	cache            string
	durability       string
}

// noDir as --s3.dir means that nothing is kept on this machine.
const noDir = "none"

func (f *s3Flags) register(c *cobra.Command) {
	c.Flags().StringVar(&f.endpoint, "s3.endpoint", "", "object store of an s3:// volume; default: $AWS_ENDPOINT_URL_S3, $AWS_ENDPOINT_URL, or Amazon's")
	c.Flags().StringVar(&f.region, "s3.region", "", "its region; default: $AWS_REGION, $AWS_DEFAULT_REGION, or us-east-1")
	c.Flags().StringVar(&f.caFile, "s3.ca-file", "", "certificates that vouch for it; default: $AWS_CA_BUNDLE, or the machine's own")
	c.Flags().StringVar(&f.dir, "s3.dir", "", "directory of this machine for its cache and local journal; default: one of the volume's own in the user's cache, \"none\": memory")
	c.Flags().StringVar(&f.cache, "s3.cache", "256m", "how many sealed bytes the cache holds, with k, m, g or t")
	c.Flags().StringVar(&f.durability, "s3.durability", "remote", "what a sync waits for: remote, the object store; or local, a journal on this machine's disk")
}

// options are those of a volume, or of volumes below a name.
func (f s3Flags) options(volume string) (o s3.Options, err error) {
	o.Endpoint = cmp.Or(f.endpoint, os.Getenv("AWS_ENDPOINT_URL_S3"), os.Getenv("AWS_ENDPOINT_URL"))
	o.Region = cmp.Or(f.region, os.Getenv("AWS_REGION"), os.Getenv("AWS_DEFAULT_REGION"))
	if file := cmp.Or(f.caFile, os.Getenv("AWS_CA_BUNDLE")); file != "" {
		if o.RootCAs, err = readCertificates(file); err != nil {
			return o, err
		}
	}
	if o.CacheBytes, err = config.ParseSize(cmp.Or(f.cache, "256m")); err != nil {
		return o, usageError("an example: --s3.cache 1g", "--s3.cache: %w", err)
	}
	if o.CacheBytes == 0 {
		o.CacheBytes = -1
	}
	switch f.durability {
	case "", "remote":
	case "local":
		o.Durability = s3.Local
	default:
		return o, usageError("--s3.durability remote, or local", "--s3.durability %q is neither", f.durability)
	}
	o.Dir, err = f.cacheDir(o.Endpoint, volume)
	return o, err
}

// cacheDir is the directory of a volume on this machine.
func (f s3Flags) cacheDir(endpoint, volume string) (string, error) {
	local := f.durability == "local"
	switch {
	case f.dir == noDir && local:
		return "", usageError("COMMAND --s3.dir DIR", "--s3.durability local needs a directory")
	case f.dir == noDir:
		return "", nil
	case f.dir != "":
		return abs(f.dir), nil
	}
	cache, err := os.UserCacheDir()
	if err != nil && local {
		return "", usageError("COMMAND --s3.dir DIR", "--s3.durability local needs a directory: %w", err)
	}
	if err != nil {
		return "", nil
	}
	sum := sha256.Sum256([]byte(endpoint + "\n" + volume))
	return filepath.Join(cache, "coffer", "s3", fmt.Sprintf("%x", sum[:8])), nil
}

func (f s3Flags) open(ctx context.Context, volume string) (*s3.Volume, error) {
	o, err := f.options(volume)
	if err != nil {
		return nil, err
	}
	return s3.Open(ctx, volume, o)
}

// makeVolume makes an empty volume, or takes one that is there and perhaps empty.
func (f s3Flags) makeVolume(ctx context.Context, volume string) error {
	o, err := f.options(volume)
	if err != nil {
		return err
	}
	if err = s3.Create(ctx, volume, o); errors.Is(err, host.ErrExists) {
		err = nil // whoever fills it finds out
	}
	return err
}

func (f s3Flags) holder(ctx context.Context, volume string) (h *holder, err error) {
	v, err := f.open(ctx, volume)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, v.Close()) }()
	st, err := v.Status(ctx)
	if err != nil || !st.Held {
		return nil, err
	}
	return &holder{What: st.Owner}, nil
}

// s3Poll is how often an object store is asked for what others do.
const s3Poll = time.Second
