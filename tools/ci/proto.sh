#!/usr/bin/env bash
# The lint of the wire contract (buf.yaml).
set -euo pipefail
cd "$(dirname "$0")/../.."
. tools/ci/versions.sh

command -v npm >/dev/null || { echo "npm is missing: apt-get install npm" >&2; exit 1; }
root="$PERRON_TOOLS/buf-$BUF_VERSION"
buf="$root/node_modules/.bin/buf"
[ -x "$buf" ] || npm install --silent --no-audit --no-fund --prefix "$root" "@bufbuild/buf@$BUF_VERSION"
"$buf" lint
echo "the contract passes buf lint ($BUF_VERSION)"
