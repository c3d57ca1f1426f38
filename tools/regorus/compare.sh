#!/bin/sh
# compare.sh CASES SEED: writes generated cases with the gate's answers, and evaluates the same Rego
# over them in regorus. Fails on a difference, and when the cases don't try each answer often enough.
set -eu

cd "$(dirname "$0")/../.."
target="${CARGO_TARGET_DIR:-target}"
cases="$target/cases-$2.ndjson"
CARGO_TARGET_DIR="$target/regorus" cargo build --locked --manifest-path tools/regorus/Cargo.toml
trap 'rm -f "$cases"' EXIT
"$target/debug/perron-bench" cases --cases "$1" --seed "$2" --out "$cases"
"$target/regorus/debug/perron-regorus" policies < "$cases"
