#!/usr/bin/env bash
# Fuzzes every target of the repository, one after the other:
#   scripts/fuzz.sh 60s
set -euo pipefail
cd "$(dirname "$0")/.."
time=${1:-60s}
targets=0
while IFS=: read -r file _ target; do
	printf '== %s %s\n' "$(dirname "$file")" "$target"
	go test "./$(dirname "$file")" -run '^$' -fuzz "^$target\$" -fuzztime "$time"
	targets=$((targets + 1))
done < <(git grep -nE '^func Fuzz[A-Za-z0-9_]*\(' -- '*_test.go' |
	sed -E 's/^([^:]*):([0-9]*):func (Fuzz[A-Za-z0-9_]*)\(.*/\1:\2:\3/')
printf '\n%d targets, %s each, nothing found\n' "$targets" "$time"
