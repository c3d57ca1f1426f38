# Versions of the programs that tests and checks use, and where they are kept. Sourced.
export PERRON_TOOLS="${PERRON_TOOLS:-${HOME:-/tmp}/.cache/perron-tools}"
export PERRON_COUNTS="$PERRON_TOOLS/counts"
CARGO_DENY_VERSION=0.20.2
BUF_VERSION=1.75.0
CARGO_MUTANTS_VERSION=27.1.0
PYTHON_ENVIRONMENT="$PERRON_TOOLS/python-pyarrow-26.0.1-adbc-1.13.0-cryptography-50.0.2-jsonschema-4.26.0-rdflib-7.6.0-ocsf-1.2.0"
TESSERA_VERSION=v1.0.4
TORCHWOOD_VERSION=v0.6.1
# A second verifier, and one of another make, look at what the tests verify.
export PERRON_PYTHON="$PYTHON_ENVIRONMENT/bin/python"
export PERRON_FSCK="$PERRON_TOOLS/tessera-$TESSERA_VERSION/fsck"
# A witness and a witnessed log of other makes.
export PERRON_LITEWITNESS="$PERRON_TOOLS/torchwood-$TORCHWOOD_VERSION/litewitness"
export PERRON_TESSERA_ONESHOT="$PERRON_TOOLS/tessera-$TESSERA_VERSION/posix-oneshot"
# The browser tests of the auditor's folder; their versions are those of the lock file.
FOLDER_MODULES="$PERRON_TOOLS/folder-$(cksum < "${BASH_SOURCE[0]%/*}/../../tests/folder/package-lock.json" | cut -d' ' -f1)"
export FOLDER_MODULES
# A collector of syslog messages, by others; not on every user's path.
PERRON_RSYSLOGD="$(PATH="$PATH:/usr/sbin:/sbin" command -v rsyslogd || true)"
export PERRON_RSYSLOGD
