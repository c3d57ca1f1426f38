#!/usr/bin/env bash
# The figures of docs/PERFORMANCE.md, in one run, beside regorus and OPA. Arguments go to
# `perron-bench run` (`--only reads`). PROFILE=debug takes the programs as the tests build them.
set -euo pipefail
cd "$(dirname "$0")/.."
. tools/ci/versions.sh
target="${CARGO_TARGET_DIR:-target}"
opa="$PERRON_TOOLS/opa-$(sed -n 's/^OPA_VERSION=//p' policies/build.sh)/opa"
programs="$target/${PROFILE:-dist}"
[ -x "$opa" ] || policies/build.sh --check
CARGO_TARGET_DIR="$target/regorus" cargo build --locked --manifest-path tools/regorus/Cargo.toml
mkdir -p "$target/bench"
# A run that was broken off leaves its directory behind.
rm -rf "$target/bench/run"
"$programs/perron-bench" run --perron "$programs/perron" --dir "$target/bench/run" \
    --regorus "$target/regorus/debug/perron-regorus" --opa "$opa" \
    --commit "$(git describe --always --dirty)" --json "$target/bench/report.json" "$@"
