#!/usr/bin/env bash
# pjdfstest, the C and prove version, on a mounted volume.
#
#   scripts/conformance.sh DIR [SUBDIR...]
#
# DIR is its checkout, built: DIR/pjdfstest is there. Needs root and prove. Ends
# with the counts, and with 1 if anything failed. JOBS is for prove -j;
# AT=tmp runs it in the filesystem in memory.
set -euo pipefail
checkout=${1:?usage: conformance.sh DIR [SUBDIR...]}
checkout=$(cd "$checkout" && pwd)
shift
cd "$(dirname "$0")/.."
coffer=$PWD/bin/coffer
[ -x "$checkout/pjdfstest" ] || { echo "conformance: $checkout/pjdfstest is not built" >&2; exit 2; }
work=$(mktemp -d "${TMPDIR:-/tmp}/coffer-conformance.XXXXXX")

cleanup() {
	cd /
	umount "$work/mnt" 2>/dev/null || umount -l "$work/mnt" 2>/dev/null || true
	rm -rf "$work"
}
trap cleanup EXIT

cat >"$work/volume.hcl" <<'END'
persistentFileSystemSize = "2g"
END
mkdir "$work/mnt"
enclave=(--config "$work/volume.hcl" --sim-cpu "$work/cpu" --log error)
"$coffer" init "$work/volume" "${enclave[@]}"
"$coffer" mount "$work/volume" "$work/mnt" --allow-other "${enclave[@]}"

tests=("$checkout/tests")
[ $# = 0 ] || tests=("${@/#/$checkout/tests/}")
chmod 755 "$work" "$work/mnt"
run=$work/mnt/${AT:+$AT/}run
mkdir -m 755 "$run"
cd "$run"
umask 022
code=0
prove -j "${JOBS:-2}" -r -v "${tests[@]}" >"$work/tap" 2>&1 || code=$?
cd /

sed -n '/^Test Summary Report/,$p' "$work/tap"
passed=$(grep -cE '^ok ' "$work/tap" || true)
todo=$(grep -E '^not ok ' "$work/tap" | grep -c '# TODO' || true)
failed=$(grep -E '^not ok ' "$work/tap" | grep -vc '# TODO' || true)
grep -E '^not ok ' "$work/tap" | grep -v '# TODO' || true
"$coffer" umount "$work/mnt" # returns when the volume is closed
"$coffer" check "$work/volume" "${enclave[@]}"
echo "pjdfstest: passed $passed, failed $failed, of no account on this system $todo, prove ended with $code"
[ "$failed" = 0 ] && [ "$code" = 0 ]
