#!/usr/bin/env bash
# The clients of other makes, unmodified, against the demonstration left running.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tools/ci/versions.sh

target="${CARGO_TARGET_DIR:-target}/debug"
export PERRON="${PERRON:-$(realpath "$target/perron")}"
java_target="$PERRON_TOOLS/clients-java"
mkdir -p "$java_target"
mvn --batch-mode --quiet -f tests/clients/java/pom.xml -Dperron.target="$java_target" package dependency:build-classpath \
    -Dmdep.outputFile="$java_target/classpath"
export PERRON_JAVA_CLASSES="$java_target/classes:$(cat "$java_target/classpath")"
exec "$PYTHON_ENVIRONMENT/bin/python" tests/clients/run.py
