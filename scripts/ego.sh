#!/usr/bin/env bash
# Builds and signs both enclaves, the KDS node and the example journal, where EGo is
# installed. What is measured with each is in its enclave.json: read them first.
#
#   scripts/ego.sh NODE_HCL JOURNAL_HCL KEY
#
# NODE_HCL is embedded into the node, JOURNAL_HCL compiled into the journal, and KEY
# is the signer's private key; EGo makes one if there is none. All of it comes to be
# in bin/ego.
set -euo pipefail
cd "$(dirname "$0")/.."
node=$1 journal=$2 key=$3
for tool in ego-go ego; do
	if ! command -v "$tool" >/dev/null; then
		echo "ego: EGo is not installed: no $tool in PATH. No enclave is built; nothing else needs EGo."
		exit 0
	fi
done
out=$PWD/bin/ego
mkdir -p "$out"
cp "$node" "$out/node.hcl"
cp cmd/coffer-kds/enclave.json "$out/coffer-kds.json"
cp examples/journal/enclave.json "$out/journal.json"
[ -e "$key" ] && install -m 600 "$key" "$out/private.pem"

# A build of the same sources by the same tools is the same enclave: no paths of this
# machine, no state of the working copy.
build() { ego-go build -trimpath -buildvcs=false "$@"; }
build -o "$out/coffer-kds" ./cmd/coffer-kds
overlay=$(mktemp)
trap 'rm -f "$overlay"' EXIT
printf '{"Replace": {"%s": "%s"}}' "$PWD/examples/journal/enclave.hcl" "$(realpath "$journal")" >"$overlay"
build -overlay "$overlay" -o "$out/journal" ./examples/journal

cd "$out"
for one in coffer-kds journal; do
	ego sign "$one.json"
	echo "$one  C:$(ego uniqueid "$one")  S:$(ego signerid "$one")"
done
cmp -s node.hcl ../../cmd/coffer-kds/node.hcl && echo "ego: the node measures the example configuration: make ego NODE=node.hcl gives it yours"
exit 0
