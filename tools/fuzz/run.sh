#!/usr/bin/env bash
# Fuzzes the parsers of evidence: each target for SECONDS_EACH seconds (the first argument, 30 by
# default), beginning with its corpus, which is added to. Ends non-zero at the first input that
# breaks one; it is kept beside the corpus.
set -euo pipefail
cd "$(dirname "$0")"
seconds="${1:-30}"
target="${CARGO_TARGET_DIR:-../../target}/fuzz"
host=$(rustc -vV | sed -n 's/^host: //p')

# Coverage as libFuzzer wants it, by flags that stable Rust has. With a target named, they don't
# reach build scripts and procedural macros.
coverage="-Cpasses=sancov-module -Ccodegen-units=1 -Cllvm-args=-sanitizer-coverage-level=4"
coverage="$coverage -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table"
coverage="$coverage -Cllvm-args=-sanitizer-coverage-trace-compares"
CARGO_TARGET_DIR="$target" RUSTFLAGS="$coverage" cargo build --locked --bins --target "$host"

log=$(mktemp)
trap 'rm -f "$log"' EXIT
for name in segment tile note receipt entry; do
    mkdir -p "$target/corpus/$name" "$target/found"
    "$target/$host/debug/$name" "$target/corpus/$name" "corpus/$name" -max_total_time="$seconds" -max_len=16384 \
        -artifact_prefix="$target/found/$name-" -print_final_stats=1 > "$log" 2>&1 || { cat "$log"; exit 1; }
    echo "$name: $seconds s, $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") inputs, nothing found"
done
