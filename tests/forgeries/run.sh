#!/usr/bin/env bash
# The museum of forgeries, against the programs as built. Arguments are names of forgeries; without any, both
# verifiers also judge PERRON_EDITS (60) random edits of the seed PERRON_EDITS_SEED (1).
set -euo pipefail
cd "$(dirname "$0")/../.."
. tools/ci/versions.sh
programs="${CARGO_TARGET_DIR:-target}/debug"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$programs/perron" demo --json --dir "$work/space" > "$work/demo" || { cat "$work/demo"; exit 1; }
"$PERRON_PYTHON" tests/forgeries/run.py "$work" "$programs/perron-verify" "$@"
[ $# -gt 0 ] || "$PERRON_PYTHON" tests/forgeries/differ.py "$work" "$programs/perron-verify" "${PERRON_EDITS_SEED:-1}" "${PERRON_EDITS:-60}"
