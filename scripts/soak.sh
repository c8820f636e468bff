#!/usr/bin/env bash
# Real programs on a mounted volume, killed at bad moments.
#
#   scripts/soak.sh [NAME...]     default: all of scripts/soak/*.sh
#
# Needs root, /dev/fuse, and what each script says it needs. Each script runs in an
# empty directory of the volume ($MNT), may have the mount's process killed and the
# volume mounted again (crash), and ends with 0 if all was well. At the end the
# volume is checked. SOAK_SIZE is the volume's size, default 24g.
set -euo pipefail
cd "$(dirname "$0")/.."
REPO=$PWD
coffer=$PWD/bin/coffer
WORK=$(mktemp -d "${SOAK_DIR:-${TMPDIR:-/tmp}}/coffer-soak.XXXXXX")
export REPO WORK
LIMIT_MIB=256

cleanup() {
	local code=$?
	cd /
	umount -l "$WORK/mnt" 2>/dev/null || true
	if [ $code = 0 ]; then rm -rf "$WORK"; else echo "soak FAILED; what it left is in $WORK"; fi
	exit $code
}
trap cleanup EXIT

cat >"$WORK/volume.hcl" <<END
persistentFileSystemSize = "${SOAK_SIZE:-24g}"
inMemoryFileSystemSize = 0
END
enclave=(--config "$WORK/volume.hcl" --sim-cpu "$WORK/cpu" --log error)
mkdir -m 755 "$WORK/mnt"
chmod 755 "$WORK"

mounted() {
	"$coffer" mount "$WORK/volume" "$WORK/mnt" --allow-other --log-file "$WORK/mount.log" "${enclave[@]}"
	serving=$("$coffer" info "$WORK/volume" --json | sed -n 's/.*"pid": \([0-9]*\).*/\1/p')
}
# resident notes how much memory the mount's process has had at most, in KiB.
resident() { sed -n 's/^VmHWM:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$serving/status" >>"$WORK/resident"; }
# crash kills the mount's process and mounts the volume again.
crash() {
	resident
	kill -9 "$serving"
	while [ -d "/proc/$serving" ]; do sleep 0.05; done
	umount -l "$WORK/mnt"
	mounted
}
die() { echo "   FAILED: $*" >&2; exit 1; }
need() {
	local tool
	for tool; do command -v "$tool" >/dev/null || die "$tool is not installed"; done
}

"$coffer" init "$WORK/volume" "${enclave[@]}"
mounted
names=("$@")
[ $# -gt 0 ] || names=($(cd scripts/soak && ls *.sh | sed 's/\.sh$//'))
for name in "${names[@]}"; do
	printf '== %s: %s\n' "$name" "$(sed -n '2s/^# //p' "scripts/soak/$name.sh")"
	MNT=$WORK/mnt/$name
	mkdir -m 755 "$MNT"
	begun=$(date +%s%N)
	: >"$WORK/resident"
	# A subshell of our own: it can use crash, and what it changes ends with it.
	(cd "$MNT" && set -euo pipefail && . "$REPO/scripts/soak/$name.sh")
	serving=$("$coffer" info "$WORK/volume" --json | sed -n 's/.*"pid": \([0-9]*\).*/\1/p')
	rm -rf "$MNT"
	resident
	rss=$(sort -n "$WORK/resident" | tail -1)
	awk -v n="$name" -v ns=$(($(date +%s%N) - begun)) -v rss="$rss" \
		'BEGIN { printf "   ok: %s, %.1f s, at most %d MiB resident\n", n, ns/1e9, rss/1024 }'
	[ "$rss" -lt $((LIMIT_MIB << 10)) ] || die "a mount has less than $LIMIT_MIB MiB resident (docs/performance.md)"
done
"$coffer" umount "$WORK/mnt"
"$coffer" check "$WORK/volume" "${enclave[@]}"
