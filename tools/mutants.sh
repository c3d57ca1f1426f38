#!/usr/bin/env bash
# Mutation score of the crates that must be trusted most. cargo-mutants changes their code at one
# place at a time; a test has to fail, or the mutant survives. Fails where a crate's score is below
# 85 % (MUTANTS_SCORE_MIN). What survives and why: docs/MUTANTS.md.
#
# Arguments are cargo-mutants's own: `--shard 0/8` for a part, `--file '**/life.rs'` for a file,
# `-j 2` for two at a time.
set -euo pipefail
cd "$(dirname "$0")/.."
. tools/ci/versions.sh

root="$PERRON_TOOLS/cargo-mutants-$CARGO_MUTANTS_VERSION"
mutants="$root/bin/cargo-mutants"
if [ ! -x "$mutants" ]; then
    echo "installing cargo-mutants $CARGO_MUTANTS_VERSION (some minutes, once)"
    CARGO_TARGET_DIR="$PERRON_TOOLS/build" cargo install cargo-mutants --version "$CARGO_MUTANTS_VERSION" \
        --locked --debug --quiet --root "$root"
    rm -rf "$PERRON_TOOLS/build"
fi

out="${CARGO_TARGET_DIR:-$PWD/target}/survivors"
# A copy of the tree builds into its own directory, in TMPDIR: two trees of one shape would take
# each other's artefacts. What the tests draw at random is drawn less often: it is run a thousand times.
unset CARGO_TARGET_DIR
export PROPTEST_CASES="${PROPTEST_CASES:-32}" RUST_BACKTRACE=0

least="${MUTANTS_SCORE_MIN:-85}"
failed=()
for crate in perron-gate perron-model; do
    rm -rf "${out:?}/$crate"
    mkdir -p "$out/$crate"
    status=0
    "$mutants" mutants --package "$crate" --output "$out/$crate" --colors never "$@" || status=$?
    # 2: some survive; 3: some don't end, and are caught by that. Both are judged below.
    case $status in 0 | 2 | 3) ;; *) exit "$status" ;; esac
    count() { { cat "$out/$crate/mutants.out/$1.txt" 2> /dev/null || true; } | wc -l; }
    caught=$(count caught) missed=$(count missed) timeout=$(count timeout) unviable=$(count unviable)
    tried=$((caught + timeout + missed))
    if [ "$tried" -eq 0 ]; then
        echo "$crate: no mutant was tried"
        continue
    fi
    score=$(awk -v n=$((caught + timeout)) -v of="$tried" 'BEGIN { printf "%.1f", 100 * n / of }')
    echo "$crate: $score % ($caught caught, $timeout by the time, $missed missed; $unviable do not compile)"
    cat "$out/$crate/mutants.out/missed.txt"
    awk -v score="$score" -v least="$least" 'BEGIN { exit score < least }' || failed+=("$crate")
done

[ ${#failed[@]} -eq 0 ] || { echo "below $least %: ${failed[*]}"; exit 1; }
