#!/usr/bin/env bash
# Fuzzes the parsers of evidence: each target for SECONDS_EACH seconds (the first argument, 30 by
# default), beginning with its corpus, which is added to beside the build. Where there is none yet it is
# the one that was kept (`keep.sh`). Ends non-zero at the first input that breaks one; it is kept
# beside the corpus.
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

logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
mkdir -p "$target/found"
[ -d "$target/corpus" ] || { mkdir "$target/corpus" && tar -C "$target/corpus" -xzf corpus.tar.gz; }
fuzz() {
    mkdir -p "$target/corpus/$1" "corpus/$1"
    "$target/$host/debug/$1" "$target/corpus/$1" "corpus/$1" -max_total_time="$seconds" -max_len=16384 \
        -artifact_prefix="$target/found/$1-" -print_final_stats=1 > "$logs/$1" 2>&1
}

# Two at a time.
targets=(segment tile note receipt entry extract witness)
broken=0
for ((at = 0; at < ${#targets[@]}; at += 2)); do
    pair=("${targets[@]:at:2}")
    running=()
    for name in "${pair[@]}"; do fuzz "$name" & running+=($!); done
    for place in "${!pair[@]}"; do
        name=${pair[place]}
        if wait "${running[place]}"; then
            echo "$name: $seconds s, $(sed -n 's/^stat::number_of_executed_units: *//p' "$logs/$name") inputs, nothing found"
        else
            cat "$logs/$name"
            broken=$((broken + 1))
        fi
    done
done
echo "$((${#targets[@]} - broken)) passed, $broken failed"
[ "$broken" -eq 0 ]
