#!/usr/bin/env bash
# The auditor's folder in a headless browser, on a fresh demonstration. PERRON_FOLDER_ONLY takes the
# tests whose name holds it.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tools/ci/versions.sh

programs=$(realpath "${CARGO_TARGET_DIR:-target}/debug")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Its tables of pages lie in shared memory where there is enough of it, and its profile goes with it.
export HOME="$work/home" XDG_CONFIG_HOME="$work/home" XDG_CACHE_HOME="$work/home"
mkdir -p "$HOME"
node tests/folder/run.mjs "$programs/perron" "$work" "$FOLDER_MODULES" "$(command -v chromium)"
