#!/usr/bin/env bash
# Installs what the tests need beside the compilers. A program that has to be on the machine and
# isn't is a failure that names its package.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tools/ci/versions.sh

# The collector of syslog messages, with its TLS by OpenSSL.
collector() {
    . tools/ci/versions.sh
    [ -n "$PERRON_RSYSLOGD" ] || return 1
    local said
    said=$("$PERRON_RSYSLOGD" -N1 -f <(echo 'module(load="lmnsd_ossl")') 2>&1 || true)
    [[ "$said" != *'could not load module'* ]]
}
# Debian's packages that few machines have; what can't be installed is named below.
packages=()
collector || packages+=(rsyslog rsyslog-openssl)
command -v chromium >/dev/null || packages+=(chromium)
command -v ssh-agent >/dev/null || packages+=(openssh-client)
if [ ${#packages[@]} -gt 0 ] && [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
    echo "installing ${packages[*]} (some minutes, once)"
    apt-get update -qq || true
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null || true
fi

missing=0
collector || { echo "\`rsyslogd\` with TLS is missing: apt-get install rsyslog rsyslog-openssl" >&2; missing=1; }
need() {
    command -v "$1" >/dev/null || { echo "\`$1\` is missing: apt-get install $2" >&2; missing=1; }
}
need cc gcc
need c++ g++
need perl perl
need go golang-go
need javac openjdk-17-jdk-headless
need mvn maven
need python3 "python3 python3-venv"
need node nodejs
need npm npm
need ssh-agent openssh-client
need chromium "--no-install-recommends chromium"
if [ "$missing" -ne 0 ]; then exit 1; fi

python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: apt-get install python3" >&2; exit 1; }
python3 -c 'import ensurepip' 2>/dev/null || { echo "Python's ensurepip is missing: apt-get install python3-venv" >&2; exit 1; }

if [ ! -e "$PYTHON_ENVIRONMENT/complete" ]; then
    rm -rf "$PYTHON_ENVIRONMENT"
    python3 -m venv "$PYTHON_ENVIRONMENT"
    "$PYTHON_ENVIRONMENT/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: -r tests/clients/requirements.txt
    touch "$PYTHON_ENVIRONMENT/complete"
fi

if [ ! -e "$FOLDER_MODULES/complete" ]; then
    rm -rf "$FOLDER_MODULES"
    mkdir -p "$FOLDER_MODULES"
    cp tests/folder/package.json tests/folder/package-lock.json "$FOLDER_MODULES"
    npm ci --silent --no-audit --no-fund --ignore-scripts --prefix "$FOLDER_MODULES"
    touch "$FOLDER_MODULES/complete"
fi

# A program in Go, of this module's version, where it isn't yet.
in_go() {
    [ -x "$1" ] || GOBIN="$(dirname "$1")" CGO_ENABLED=0 GOFLAGS=-trimpath go install "$2"
}
in_go "$PERRON_FSCK" "github.com/transparency-dev/tessera/cmd/fsck@$TESSERA_VERSION"
in_go "$PERRON_TESSERA_ONESHOT" "github.com/transparency-dev/tessera/cmd/examples/posix-oneshot@$TESSERA_VERSION"
in_go "$PERRON_LITEWITNESS" "filippo.io/torchwood/cmd/litewitness@$TORCHWOOD_VERSION"
