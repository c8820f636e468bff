#!/usr/bin/env bash
# Go: build and vet a module, with its cache on the volume
need go
mkdir src cache tmp
git -C "$REPO" archive HEAD | tar -x -C src
export GOCACHE=$MNT/cache GOTMPDIR=$MNT/tmp GOFLAGS=-buildvcs=false
cd src
go build -o ../bin/ ./cmd/...
go vet ./store/... ./fs/...
../bin/coffer version
# The same again is all cache.
go build -x -o ../bin/ ./cmd/... 2>&1 | grep -c '/compile ' && die "the cache was lost"
true
