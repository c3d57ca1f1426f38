# The commands of the project. CARGO_TARGET_DIR of the environment is honoured.
TARGET := $(or $(CARGO_TARGET_DIR),target)

.PHONY: help demo build test clients policies lint fmt deny proto advisories dist

help:
	@echo "make demo       builds, then plays the main job in front of you (LANG_DEMO=fr for French)"
	@echo "make test       installs what the tests need, runs all of them, prints a count"
	@echo "make policies   formats, tests and rebuilds the Rego modules (Go)"
	@echo "make lint       formatting, and clippy of the whole workspace"
	@echo "make deny       licences, bans and sources of the dependencies"
	@echo "make proto      lint of the wire contract"
	@echo "make dist       the optimised programs"

build:
	cargo build --locked --workspace --bins

demo: build
	$(TARGET)/debug/perron --lang $(or $(LANG_DEMO),en) demo

test:
	tools/ci/test.sh

# The clients of other makes alone, against the programs as built.
clients: build
	tools/ci/install.sh
	tests/clients/run.sh

policies:
	policies/build.sh

lint:
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings

fmt:
	cargo fmt --all

deny:
	tools/ci/deny.sh

# Needs the network: the database of advisories comes by git.
advisories:
	tools/ci/deny.sh advisories

proto:
	tools/ci/proto.sh

dist:
	cargo build --locked --profile dist --workspace --bins
	@ls -l $(TARGET)/dist/perron $(TARGET)/dist/perron-verify
