#!/usr/bin/env bash
# SQLite's own speed test (speedtest1), as go-sqlite3 brings it, on a database in a
# volume and on one in a plain directory: scripts/speedtest1.sh [SIZE]
#
# The test drives SQLite from inside go-sqlite3's packages, so it runs in a copy of
# that module to which our VFS is added.
set -euo pipefail
cd "$(dirname "$0")/.."
size=${1:-20}
tmp=$(mktemp -d)
trap 'chmod -R u+w "$tmp"; rm -rf "$tmp"' EXIT
module=github.com/ncruces/go-sqlite3
cp -r "$(go list -m -f '{{.Dir}}' $module)" "$tmp/sqlite"
chmod -R u+w "$tmp/sqlite"
cp fs/sqlitevfs/testdata/speedtest1_test.go.txt "$tmp/sqlite/vfs/tests/speedtest1/coffer_test.go"
cp go.mod "$tmp/go.mod"
cp go.sum "$tmp/go.sum"
(cd "$tmp" && go mod edit -replace "$module=$tmp/sqlite" go.mod)
go test -mod=mod -modfile="$tmp/go.mod" -run '^$' -bench '_(speedtest1|coffer)$' -benchtime "${size}x" \
	$module/vfs/tests/speedtest1
