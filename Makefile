# The commands of the project. CARGO_TARGET_DIR of the environment is honoured.
TARGET := $(or $(CARGO_TARGET_DIR),target)

.PHONY: fuzz help demo build test soak differential mutants attacks clients policies lint fmt deny proto advisories dist bench bench-log bench-release

help:
	@echo "make demo       builds, then plays the main job in front of you (LANG_DEMO=fr for French)"
	@echo "make test       installs what the tests need, runs all of them, prints a count"
	@echo "make soak       kills the processes under load, 200 times, and 200 times with what was not synced dropped;"
	@echo "                the ledger alone 1,000 times, and 12,000 simulated logs cut off from power four times each;"
	@echo "                random statements over 300 random views against copies without what they hide;"
	@echo "                and 5,000 random edits of directories, signed anew, before both verifiers"
	@echo "make mutants    the mutation score of crates/model and crates/gate; part of make soak"
	@echo "make attacks    attacks on released tables, 1,000 tries each; part of make soak"
	@echo "make fuzz       the parsers of what is evidence, FUZZ_SECONDS each (720)"
	@echo "make policies   formats, tests and rebuilds the Rego modules (Go)"
	@echo "make lint       formatting, and clippy of the whole workspace"
	@echo "make deny       licences, bans and sources of the dependencies"
	@echo "make proto      lint of the wire contract"
	@echo "make dist       the optimised programs"
	@echo "make bench      the figures of docs/PERFORMANCE.md, with the optimised programs"
	@echo "make bench-log  the figures of the log alone, with ten million entries, beside Tessera's (Go)"
	@echo "make bench-release  a released table over 100 million readings, against DuckDB"

build:
	cargo build --locked --workspace --bins

demo: build
	$(TARGET)/debug/perron --lang $(or $(LANG_DEMO),en) demo

test:
	tools/ci/test.sh

# Random views and statements, as many worlds as PERRON_ROWS_CASES says, from PERRON_ROWS_SEED; then
# the kills of the tests, as many as PERRON_KILLS says, and of the ledger alone, as many as
# PERRON_LOG_KILLS says, from PERRON_KILL_SEED; and simulated power cuts of PERRON_POWER_LOGS logs.
soak: build
	PERRON_ROWS_CASES=$(or $(PERRON_ROWS_CASES),300) cargo test --locked -p perron --lib -- --nocapture query::random_tests
	PERRON_POWER_LOGS=$(or $(PERRON_POWER_LOGS),12000) cargo test --locked -p perron-log --test it -- --nocapture crash::
	PERRON_KILLS=$(or $(PERRON_KILLS),200) PERRON_LOG_KILLS=$(or $(PERRON_LOG_KILLS),1000) cargo test --locked -p perron --test it -- --nocapture --test-threads 1 kill::
	PERRON_EDITS=$(or $(PERRON_EDITS),5000) tests/forgeries/run.sh
	$(MAKE) attacks

# Attacks on released tables: 1,000 tries each, endpoint against file.
attacks: build
	rm -rf $(TARGET)/attacks
	$(TARGET)/debug/perron-bench attacks --perron $(TARGET)/debug/perron --dir $(TARGET)/attacks

# The parsers of evidence, on stable Rust: FUZZ_SECONDS of each of the seven, two at a time.
fuzz:
	tools/fuzz/run.sh $(or $(FUZZ_SECONDS),720)

# The policies in another evaluator of Rego: 100,000 generated cases without a difference.
soak: differential

differential: build
	tools/regorus/compare.sh $(or $(CASES),100000) $(or $(SEED),1)

# The code of the crates that must be trusted most, changed at one place at a time: a test has to
# fail. MUTANTS goes to cargo-mutants, such as MUTANTS="--shard 0/8".
soak: mutants

mutants:
	tools/mutants.sh $(MUTANTS)

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

# The log alone: ten million entries take some 20 GB on the disk of the build while it runs.
bench-log: dist
	tools/bench_log.sh

# A released table over 100 million readings against DuckDB (Python, from the package index); keeps
# some hundred MB on the disk while it runs.
bench-release: dist
	tools/bench_release.sh

# On the disk of the build, for its flushes are what the figures are divided by.
bench: dist
	tools/bench.sh
	cargo bench --locked --profile dist -p perron-bench
