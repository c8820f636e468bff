#!/usr/bin/env bash
# rsync: a tree there and back, with links, attributes and holes
need rsync setfattr
src=$(go env GOROOT)/src
rsync -a "$src/" tree/
ln -s tree/go.mod link
ln tree/go.mod tree/hard
truncate -s 1G tree/sparse
printf end >>tree/sparse
setfattr -n user.note -v kept tree/go.mod
chmod 4711 tree/cmd/dist/main.go
rsync -aHAXS tree/ copy/
rsync -aHAXSnci --delete tree/ copy/ >"$WORK/differences"
[ ! -s "$WORK/differences" ] || die "$(head -3 "$WORK/differences")"
diff -r --no-dereference tree copy
[ "$(stat -c %i copy/hard)" = "$(stat -c %i copy/go.mod)" ] || die "the hard link was copied"
[ "$(stat -c %b copy/sparse)" -lt 1000 ] || die "the hole was filled"
touch tree/go.mod
rm -rf tree/net
rsync -aHAXS --delete tree/ copy/
diff -r tree copy
