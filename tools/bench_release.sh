#!/usr/bin/env bash
# The figure of a released table against DuckDB, in one run. Arguments go to `perron-bench release`
# (`--rows 5000000` for a quick look).
set -euo pipefail
cd "$(dirname "$0")/.."
. tools/ci/versions.sh
target="${CARGO_TARGET_DIR:-target}"
environment="$PERRON_TOOLS/python-duckdb-2.0.0"
if [ ! -x "$environment/bin/python" ]; then
    python3 -m venv "$environment"
    "$environment/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: -r tools/bench_requirements.txt
fi
rm -rf "$target/bench/release"
mkdir -p "$target/bench"
"$target/dist/perron-bench" release --dir "$target/bench/release" --python "$environment/bin/python" \
    --json "$target/bench/release.json" "$@"
