#!/bin/sh
# Builds the modules as they must not be: each deleted, and each with its deny rules emptied. The tests
# of the modules have to fail with every one of them; the gate's own tests load the wasm and have to
# notice too (`src/policy/variants_tests.rs`). Needs OPA, as build.sh does.
set -eu

[ $# -eq 1 ] || { echo "usage: policies/variants.sh DIRECTORY" >&2; exit 64; }
mkdir -p "$1"
out=$(cd "$1" && pwd)
cd "$(dirname "$0")"
OPA_VERSION=$(sed -n 's/^OPA_VERSION=//p' build.sh)
opa="${PERRON_TOOLS:-$HOME/.cache/perron-tools}/opa-$OPA_VERSION/opa"
[ -x "$opa" ] || { echo "no OPA at $opa: policies/build.sh installs it" >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0
failed=0

# emptied FILE: a module without what it denies by; each name stays, and never holds.
emptied() {
    perl -00 -ne 'print unless /^(?:#.*\n)*(?:reasons contains|prohibited if|in_breach if)/' "$1"
    printf '\nreasons contains {"code": "none", "clause": "none"} if false\n'
    if grep -q '^prohibited if' "$1"; then printf '\nprohibited if false\n\nin_breach if false\n'; fi
}

# variant NAME ENTRYPOINTS: the wasm of what lies in $work/NAME, where it can be built at all, and
# the modules' tests, which have to fail.
variant() {
    cp ./*_test.rego "$work/$1/"
    if "$opa" test "$work/$1" > /dev/null 2>&1; then
        failed=$((failed + 1))
        echo "FAILED: the modules' tests pass with $1"
    else
        passed=$((passed + 1))
    fi
    rm "$work/$1"/*_test.rego
    entrypoints=
    for entrypoint in $2; do entrypoints="$entrypoints --entrypoint $entrypoint"; done
    # shellcheck disable=SC2086 # a list of words
    "$opa" build --target wasm --prune-unused $entrypoints --output "$work/$1.tar.gz" "$work/$1"/*.rego
    tar -PxzOf "$work/$1.tar.gz" /policy.wasm > "$out/$1.wasm"
}

# module WASM SOURCES ENTRYPOINTS: the variants of one compiled module.
module() {
    for source in $2; do
        deleted="$1-without-$source"
        mkdir "$work/$deleted"
        rest=
        for other in $2; do
            if [ "$other" != "$source" ]; then
                cp "$other.rego" "$work/$deleted/"
                rest="$rest $other"
            fi
        done
        if [ -z "$rest" ]; then
            # Nothing is left to build.
            : > "$out/$deleted.wasm"
        else
            left=
            for entrypoint in $3; do
                for other in $rest; do
                    case "$entrypoint" in "perron/$other/"*) left="$left $entrypoint" ;; esac
                done
            done
            variant "$deleted" "$left"
        fi
        empty="$1-emptied-$source"
        mkdir "$work/$empty"
        for other in $2; do cp "$other.rego" "$work/$empty/"; done
        emptied "$source.rego" > "$work/$empty/$source.rego"
        variant "$empty" "$3"
    done
}

module access "access odrl" "perron/access/decision perron/odrl/report"
module staff staff perron/staff/decision
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
