#!/usr/bin/env bash
# The product's main job on real input, from an empty directory to a migrated
# volume. Every step either proves what it says or ends the script.
#
#   scripts/demo.sh        needs root or fusermount3, /dev/fuse and Go; no network
set -euo pipefail
cd "$(dirname "$0")/.."
coffer=$PWD/bin/coffer
kds=$PWD/bin/coffer-kds
work=$(mktemp -d "${TMPDIR:-/tmp}/coffer-demo.XXXXXX")
src=$(go env GOROOT)/src
rows=()
kds_pid=
mnt=

cleanup() {
	local code=$?
	trap - EXIT
	[ -z "$mnt" ] || umount -l "$mnt" 2>/dev/null || true
	[ -z "$kds_pid" ] || kill "$kds_pid" 2>/dev/null || true
	wait 2>/dev/null || true
	[ $code = 0 ] || printf '\nThe demo FAILED; what it left is in %s\n' "$work"
	[ $code != 0 ] || rm -rf "$work"
	exit $code
}
trap cleanup EXIT
cd "$work"

say() { printf '\n== %s\n' "$*"; }
ok() { printf '   ok: %s\n' "$*"; }
die() { printf '   FAILED: %s\n' "$*"; exit 1; }
now() { date +%s%N; }
# row STEP FILES BYTES BEGUN
row() {
	local ns=$(($(now) - $4))
	rows+=("$(awk -v s="$1" -v f="$2" -v b="$3" -v ns="$ns" \
		'BEGIN { printf "%-34s %8s %9.1f %8.2f %9.1f", s, f, b/1e6, ns/1e9, b/1e6/(ns/1e9) }')")
}
# refused CODE WORDS COMMAND...: the command ends with that exit code and says that.
refused() {
	local want=$1 words=$2 code=0
	shift 2
	"$@" >refused.out 2>&1 || code=$?
	[ "$code" = "$want" ] || { cat refused.out; die "exit code $code, expected $want"; }
	grep -q -- "$words" refused.out || { cat refused.out; die "it does not say \"$words\""; }
	sed 's/^/   /' refused.out
}
# mount_volume VOLUME FLAGS...: mounts on ./mnt and returns when it is ready.
mount_volume() {
	mkdir -p mnt
	mnt=$work/mnt
	"$coffer" mount "$1" mnt "${@:2}"
}
unmount() {
	"$coffer" umount mnt
	mnt=
}

files=$(find "$src" -type f | wc -l)
bytes=$(find "$src" -type f -printf '%s\n' | awk '{ n += $1 } END { print n }')

zeros=$(printf '0%.0s' {1..64})
signer=$(printf '5e%.0s' {1..32})
# configuration POLICY: a measured configuration, bound to signer and product
configuration() {
	cat <<-EOF
	persistentFileSystemSize = "2g"
	kds {
	  kdsEnclaveConstraint = "S:$zeros PROD:1 SEC:INSECURE"
	  persistenceKeySpec {
	    masterKeyType = "development"
	    policyConstraint {
	      constraint                   = "$1"
	      useOwnCodeSignerAndProductID = true
	    }
	  }
	}
	EOF
}
configuration 'SEC:INSECURE' >v1.hcl
configuration 'REVOKE:1 SEC:INSECURE' >v2.hcl
echo "{\"signer\": \"$signer\", \"productID\": 7, \"revocationLevel\": 0}" >enclave-v1.json
echo "{\"signer\": \"$signer\", \"productID\": 7, \"revocationLevel\": 1}" >enclave-v2.json

say '1. a KDS with the development master key, under a simulated enclave'
"$kds" serve --listen 127.0.0.1:0 --master development --data kds-data --sim-cpu kds-cpu --log error >kds.url &
kds_pid=$!
for _ in $(seq 100); do
	[ -s kds.url ] && break
	kill -0 "$kds_pid" || die 'the KDS did not start'
	sleep 0.1
done
url=$(cat kds.url)
ok "it listens at $url"
v1=(--config v1.hcl --enclave enclave-v1.json --kds.url "$url")
v2=(--config v2.hcl --enclave enclave-v2.json --kds.url "$url")

say '2. a volume of 2 GiB, bound to signer and product'
"$coffer" init volume "${v1[@]}" --sim-cpu cpu-a
mount_volume volume "${v1[@]}" --sim-cpu cpu-a
"$coffer" info volume | sed 's/^/   /'

say "3. $files files of the Go toolchain go in, and are compared"
t=$(now)
cp -a "$src" mnt/first
sync mnt # as fsync: the kernel does not tell a FUSE filesystem of syncfs
row 'cp -a, and sync' "$files" "$bytes" "$t"
t=$(now)
diff -r "$src" mnt/first
row 'diff -r' "$files" "$bytes" "$t"
ok 'the two trees are the same'

say '4. a second copy, and kill -9 in the middle of it'
cp -a "$src" mnt/second 2>/dev/null &
copy=$!
for _ in $(seq 600); do
	[ "$(find mnt/second -type f 2>/dev/null | wc -l)" -gt $((files / 3)) ] && break
	sleep 0.05
done
kill -9 "$(pgrep -f "^$coffer mount volume mnt .*--foreground")"
wait "$copy" 2>/dev/null && die 'the copy ended before the kill'
"$coffer" umount mnt
ok 'the mount is gone, in the middle of the copy'
t=$(now)
mount_volume volume "${v1[@]}" --sim-cpu cpu-a
row 'mount after the kill' - 0 "$t"
second=$(find mnt/second -type f | wc -l)
[ "$second" -lt "$files" ] || die 'the second copy is whole'
diff -r "$src" mnt/first
ok "the first tree is intact; of the second there are $second files"
unmount
t=$(now)
"$coffer" check volume "${v1[@]}" --sim-cpu cpu-a | sed 's/^/   /'
row 'check' - "$(du -sb volume | cut -f1)" "$t"

say '5. an operator carries the sealed volume to another machine'
cp -a volume carried
mount_volume carried "${v1[@]}" --sim-cpu cpu-b
diff -r "$src" mnt/first
ok 'under another CPU it opens, and the tree is the same'
unmount
"$coffer" init machine-bound --config v1.hcl --enclave enclave-v1.json --sim-cpu cpu-a 2>/dev/null
cp -a machine-bound machine-carried
"$coffer" ls machine-bound --config v1.hcl --enclave enclave-v1.json --sim-cpu cpu-a 2>/dev/null
refused 6 'the key does not open this volume' \
	"$coffer" ls machine-carried --config v1.hcl --enclave enclave-v1.json --sim-cpu cpu-b --log error
ok 'a volume with a CPU-bound key does not open there'

say '6. the enclave is upgraded, and the volume migrated to its spec'
t=$(now)
"$coffer" migrate volume --config v1.hcl --to v2.hcl --enclave enclave-v2.json --kds.url "$url" --sim-cpu cpu-a | sed 's/^/   /'
row 'migrate' - "$(du -sb volume | cut -f1)" "$t"
mount_volume volume "${v2[@]}" --sim-cpu cpu-a
diff -r "$src" mnt/first
ok 'the new enclave opens it, and the tree is the same'
unmount
refused 6 'sealed for another key spec' "$coffer" ls volume "${v1[@]}" --sim-cpu cpu-a
refused 11 'REVOKE' "$coffer" ls volume --config v2.hcl --enclave enclave-v1.json --kds.url "$url" --sim-cpu cpu-a
ok 'the old enclave is refused, with its own configuration and with the new one'

say '7. a volume bound to the code hash is handed over to the next build'
"$coffer" ticket key ticket.key >upgrade.block
configuration 'SEC:INSECURE' | sed 's/useOwnCodeSignerAndProductID/useOwnCodeHash/' | cat - upgrade.block >bound-v1.hcl
(cat bound-v1.hcl; echo '# the next version') >bound-v2.hcl
old=(--config bound-v1.hcl --enclave enclave-v1.json --kds.url "$url" --sim-cpu cpu-a)
new=(--config bound-v2.hcl --enclave enclave-v1.json --kds.url "$url" --sim-cpu cpu-a)
"$coffer" init bound "${old[@]}"
"$coffer" put bound "$src/net" / "${old[@]}"
"$coffer" identity --config bound-v1.hcl --enclave enclave-v1.json --sim-cpu cpu-a --json >old.json
"$coffer" identity --config bound-v2.hcl --enclave enclave-v1.json --sim-cpu cpu-a --json >new.json
refused 6 'sealed for another key spec' "$coffer" ls bound "${new[@]}"
id=$("$coffer" info bound | sed -n 's/^id *//p')
"$coffer" ticket create --key ticket.key --volume "$id" --from old.json --to new.json >ticket
"$coffer" handover bound --ticket ticket "${old[@]}" | sed 's/^/   /'
mount_volume bound "${new[@]}"
diff -r "$src/net" mnt/net
ok 'the new build opens it, and the tree is the same'
unmount
"$coffer" migrate bound --to bound-v2.hcl --enclave enclave-v1.json --kds.url "$url" --sim-cpu cpu-a | sed 's/^/   /'
refused 6 'sealed for another key spec' "$coffer" ls bound "${old[@]}"
ok 'the old build is refused'

say '8. what the host sees'
for word in 'package main' 'func Test' 'Copyright' 'The Go Authors' 'crypto/tls' 'net/http' \
	'README.md' 'runtime' 'ReadFile' 'Marshal'; do
	if grep -rqa -- "$word" volume carried; then
		die "the sealed volume holds \"$word\""
	fi
done
ok 'none of ten names and strings of the tree is in the sealed volumes'

printf '\n%-34s %8s %9s %8s %9s\n' step files MB seconds MB/s
printf '%s\n' "${rows[@]}"
printf '\nAll of it worked.\n'
