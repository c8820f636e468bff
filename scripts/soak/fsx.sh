#!/usr/bin/env bash
# fsx: a million random operations on one file, each read compared
go build -C "$REPO" -o "$WORK/" ./internal/soak
"$WORK/soak" fsx "$MNT" "${FSX_OPS:-1000000}" "${FSX_SEED:-0}"
