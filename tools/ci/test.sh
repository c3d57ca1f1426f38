#!/usr/bin/env bash
# All tests, with a count. Ends non-zero if anything failed, after having run everything.
set -uo pipefail
cd "$(dirname "$0")/../.."
. tools/ci/versions.sh

tools/ci/install.sh || exit 1
. tools/ci/versions.sh
log=$(mktemp -d)
variants=$(mktemp -d)
trap 'rm -rf "$log" "$variants"' EXIT
failed=()

echo "== policies"
policies/build.sh --check 2>&1 | tee "$log/policies" || failed+=(policies)
policies/variants.sh "$variants" 2>&1 | tee "$log/variants" || failed+=(variants)
export PERRON_POLICY_VARIANTS="$variants"

echo "== cargo test"
cargo build --locked --workspace --bins || failed+=(build)
cargo test --locked --workspace --no-fail-fast 2>&1 | tee "$log/cargo" || failed+=(cargo)

echo "== profile"
"$PYTHON_ENVIRONMENT/bin/python" tests/profile/validate.py 2>&1 | tee "$log/profile" || failed+=(profile)

echo "== policies in another evaluator"
tools/regorus/compare.sh 2000 1 2>&1 | tee "$log/differential" || failed+=(differential)
# No figure of this profile means anything; they answer the same, and are timed.
PROFILE=debug tools/bench.sh --quick --only evaluators > "$log/evaluators" 2>&1 || { cat "$log/evaluators"; failed+=(evaluators); }

echo "== the log beside Tessera's"
PROFILE=debug tools/bench_log.sh --quick > "$log/tessera" 2>&1 || { cat "$log/tessera"; failed+=(tessera); }

echo "== fuzz"
tools/fuzz/run.sh 30 2>&1 | tee "$log/fuzz" || failed+=(fuzz)

echo "== forgeries"
tests/forgeries/run.sh 2>&1 | tee "$log/forgeries" || failed+=(forgeries)

echo "== folder"
tests/folder/run.sh 2>&1 | tee "$log/folder" || failed+=(folder)

echo "== clients"
tests/clients/run.sh 2>&1 | tee "$log/clients" || failed+=(clients)

# `test result: ok. 12 passed; 0 failed; 0 ignored; …`, `PASS: 12/12`, `12 passed, 0 failed`
count() { awk "$1" "$log"/* ; }
passed=$(count '/^test result:/ { for (i = 2; i <= NF; i++) if ($i ~ /^passed/) n += $(i-1) } /^PASS: [0-9]+\// { split($2, p, "/"); n += p[1] } /^[0-9]+ passed, [0-9]+ failed$/ { n += $1 } END { print n + 0 }')
broken=$(count '/^test result:/ { for (i = 2; i <= NF; i++) if ($i ~ /^failed/) n += $(i-1) } /^FAIL: [0-9]+\// { split($2, p, "/"); n += p[1] } /^[0-9]+ passed, [0-9]+ failed$/ { n += $3 } END { print n + 0 }')
# What failed before it could count is one failure.
if [ "$broken" -eq 0 ] && [ ${#failed[@]} -gt 0 ]; then broken=${#failed[@]}; fi
if [ "$passed" -eq 0 ]; then failed+=("no test ran"); fi

if [ ${#failed[@]} -gt 0 ]; then
    # Once more at the end: of a long output that is often all there is.
    grep -h -A8 -E '^test .* \.\.\. FAILED|^---- .* stdout ----|^FAIL:' "$log"/* | cut -c1-400 | tail -n 80
    echo "FAILED: ${failed[*]}"
fi
mkdir -p "$PERRON_TOOLS"
echo "$passed passed, $broken failed" | tee "$PERRON_COUNTS"
[ ${#failed[@]} -eq 0 ]
