#!/usr/bin/env bash
# Keeps what fuzzing has found worth trying, as `corpus.tar.gz`: of the corpora beside the build, the inputs
# of at most 4 KiB that each reach something which no other does. After `run.sh`, whose programs it uses.
set -euo pipefail
cd "$(dirname "$0")"
target="${CARGO_TARGET_DIR:-../../target}/fuzz"
host=$(rustc -vV | sed -n 's/^host: //p')
kept=$(mktemp -d)
trap 'rm -rf "$kept"' EXIT
for name in segment tile note receipt entry; do
    mkdir "$kept/$name"
    "$target/$host/debug/$name" -merge=1 -max_len=4096 "$kept/$name" "corpus/$name" "$target/corpus/$name" 2> "$kept/log" ||
        { cat "$kept/log"; exit 1; }
    echo "$name: $(find "$kept/$name" -type f | wc -l) inputs"
done
rm "$kept/log"
tar --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 --mode=u+rw,go+r -C "$kept" -cf - . | gzip -9n > corpus.tar.gz
