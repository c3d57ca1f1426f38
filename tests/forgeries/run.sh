#!/usr/bin/env bash
# The museum of forgeries, against the programs as built. Arguments are names of forgeries.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tools/ci/versions.sh
programs="${CARGO_TARGET_DIR:-target}/debug"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$programs/perron" demo --json --dir "$work/space" > "$work/demo" || { cat "$work/demo"; exit 1; }
"$PERRON_PYTHON" tests/forgeries/run.py "$work" "$programs/perron-verify" "$@"
