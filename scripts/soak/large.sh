#!/usr/bin/env bash
# large: a sparse file of 1 TiB, a file of 8 GiB, a directory of a million, long names
go build -C "$REPO" -o "$WORK/" ./internal/soak
"$WORK/soak" large "$MNT"
