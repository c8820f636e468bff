#!/bin/sh
# How much memory coffer mail takes for a letter of SIZE (default 2G): posts zeros,
# opens them, compares. Prints the most that each command had resident, and fails if
# one had more than 64 MiB. Needs bin/coffer, bin/coffer-kds and SIZE of disk.
set -eu
size=${1:-2G}
bin=$(pwd)/bin
dir=$(mktemp -d)
node=
trap 'test -z "$node" || kill "$node"; rm -rf "$dir"' EXIT
cd "$dir"

signer=5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e
trust="S:0000000000000000000000000000000000000000000000000000000000000000 PROD:1 SEC:INSECURE"
printf 'kds {\n  kdsEnclaveConstraint = "%s"\n}\n' "$trust" >app.hcl
printf '{"signer": "%s", "productID": 7}\n' "$signer" >app.json
mkfifo url
"$bin/coffer-kds" serve --listen 127.0.0.1:0 --master development --data kds --sim-cpu kds-cpu >url &
node=$!
read -r url <url

# resident NAME COMMAND...: runs it, and says what it had resident at most. The last
# look is at most 50 ms before its end.
resident() {
	name=$1
	shift
	"$@" &
	pid=$!
	most=0
	while line=$(grep VmHWM "/proc/$pid/status" 2>/dev/null); do
		most=$(echo "$line" | tr -dc 0-9)
		sleep 0.05
	done
	wait "$pid"
	echo "$name: $((most / 1024)) MiB resident" >&2
	test "$most" -gt 0 && test "$most" -le 65536
}

truncate -s "$size" body
resident "post $size" "$bin/coffer" mail post body -o letter --to "S:$signer PROD:7 SEC:INSECURE" \
	--master development --kds.url "$url" --kds.constraint "$trust"
mkfifo out
cmp body out &
cmp=$!
resident "open $size" "$bin/coffer" mail open letter --config app.hcl --enclave app.json \
	--sim-cpu cpu --kds.url "$url" >out
wait "$cmp"
