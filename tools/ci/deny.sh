#!/usr/bin/env bash
# Licences, bans and sources of the dependencies (deny.toml), or the checks that are named.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tools/ci/versions.sh

root="$PERRON_TOOLS/cargo-deny-$CARGO_DENY_VERSION"
deny="$root/bin/cargo-deny"
if [ ! -x "$deny" ]; then
    # Unoptimised: it compiles in a fraction of the time, and what it does here takes seconds.
    echo "installing cargo-deny $CARGO_DENY_VERSION (some minutes, once)"
    CARGO_TARGET_DIR="$PERRON_TOOLS/build" cargo install cargo-deny --version "$CARGO_DENY_VERSION" \
        --locked --debug --quiet --root "$root"
    rm -rf "$PERRON_TOOLS/build"
fi
[ $# -gt 0 ] || set -- licenses bans sources
"$deny" --locked check --hide-inclusion-graph "$@"
