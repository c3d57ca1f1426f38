#!/bin/sh
# Checks, tests and compiles the Rego modules; `--check` compares the committed wasm instead of
# replacing it. Needs Go and, the first time, its module proxy. Nothing at run time needs OPA.
set -eu

OPA_VERSION=v1.22.2
SOURCES="access odrl staff"
MODULES="access staff"

cd "$(dirname "$0")"
check=no
case "${1:-}" in
    '') ;;
    --check) check=yes ;;
    *) echo "usage: policies/build.sh [--check]" >&2; exit 64 ;;
esac

tools="${PERRON_TOOLS:-$HOME/.cache/perron-tools}/opa-$OPA_VERSION"
opa="$tools/opa"
if [ ! -x "$opa" ]; then
    mkdir -p "$tools"
    echo "installing OPA $OPA_VERSION" >&2
    GOBIN="$tools" CGO_ENABLED=0 GOFLAGS=-trimpath go install "github.com/open-policy-agent/opa@$OPA_VERSION"
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

unformatted=$("$opa" fmt --list ./*.rego)
if [ -n "$unformatted" ]; then
    echo "not in the form of opa fmt: $unformatted" >&2
    exit 1
fi
"$opa" check --strict ./*.rego
"$opa" test --timeout 120s ./*.rego
"$opa" test --timeout 120s --coverage --threshold 100 ./*.rego > "$work/coverage.json" || {
    echo "a rule is not covered by a test: opa test --coverage policies" >&2
    exit 1
}

# compile MODULE SOURCES ENTRYPOINTS: one wasm with its entrypoints.
compile() {
    entrypoints=
    for entrypoint in $3; do entrypoints="$entrypoints --entrypoint $entrypoint"; done
    # shellcheck disable=SC2086 # lists of words
    "$opa" build --target wasm --prune-unused $entrypoints --output "$work/$1.tar.gz" $2
    tar -PxzOf "$work/$1.tar.gz" /policy.wasm > "$work/$1.wasm"
}
compile access "access.rego odrl.rego" "perron/access/decision perron/odrl/report"
compile staff staff.rego perron/staff/decision
{
    echo "opa $OPA_VERSION"
    for source in $SOURCES; do sha256sum "$source.rego"; done
    for module in $MODULES; do (cd "$work" && sha256sum "$module.wasm"); done
} > "$work/DIGESTS"

if [ "$check" = yes ]; then
    for file in access.wasm staff.wasm DIGESTS; do
        cmp "$work/$file" "compiled/$file" || {
            echo "compiled/$file is not what its source gives: make policies" >&2
            exit 1
        }
    done
    echo "the compiled policies are what their sources give (OPA $OPA_VERSION)"
else
    mkdir -p compiled
    for file in access.wasm staff.wasm DIGESTS; do cp "$work/$file" "compiled/$file"; done
    cat compiled/DIGESTS
fi
