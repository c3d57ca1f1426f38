#!/usr/bin/env bash
# The figures of the log alone, in one run, beside Tessera's POSIX log (Go). Arguments go to
# `perron-bench log` (`--entries 1000000`). PROFILE=debug takes the program as the tests build it.
# Ten million entries take some 20 GB on the disk of the build while it runs.
set -euo pipefail
cd "$(dirname "$0")/.."
. tools/ci/versions.sh
target="${CARGO_TARGET_DIR:-target}"
mkdir -p "$target/bench"
tessera="$PWD/tools/tessera"
program="$PERRON_TOOLS/tessera-$TESSERA_VERSION/perron-tessera"
grep -q "transparency-dev/tessera $TESSERA_VERSION\$" "$tessera/go.mod" || {
    echo "tools/tessera/go.mod has another Tessera than $TESSERA_VERSION" >&2
    exit 1
}
(cd "$tessera" && CGO_ENABLED=0 go build -trimpath -o "$program" .)
programs="$target/${PROFILE:-dist}"
# A run that was broken off leaves its directory behind.
rm -rf "$target/bench/log"
"$programs/perron-bench" log --dir "$target/bench/log" --perron "$programs/perron" --tessera "$program" \
    --commit "$(git describe --always --dirty)" --json "$target/bench/log.json" "$@"
