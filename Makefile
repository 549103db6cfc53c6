# The front door: build, demo, test, bench, soak, fuzz. What each needs is brought by ops/deploy/tools.sh, without root and
# without a trace outside this clone and the user's cache.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := build

export UV_PYTHON_DOWNLOADS := never
unexport PYTHONDONTWRITEBYTECODE
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/weft
CARGO_TARGET_DIR ?= $(CACHE)/target
export CARGO_TARGET_DIR
UV := $(or $(shell command -v uv 2>/dev/null),.tools/bin/uv)
export PATH := $(CURDIR)/.venv/bin:$(CURDIR)/.tools/bin:$(PATH)
TOOLS := ops/deploy/tools.sh
ENGINE_DEBUG := $(CURDIR)/.tools/bin/weft-engine-debug
COUNTER := $(CURDIR)/.tools/bin/weft-counts
PYTEST := WEFT_ENGINE=$(ENGINE_DEBUG) pytest
# Tests of real processes share a machine: what failed beside others is told, and has to pass alone.
ONCE_MORE := $(PYTEST) --last-failed --last-failed-no-failures none

.PHONY: build demo test lint-python lint-rust bench soak fuzz seeds counts counter setup engine engine-debug hello etcd h2spec fresh lock
build: setup

demo: setup
	@exec weft demo

# With the debug engine alone: the release build is `make build`'s.
test: hello .venv/.ready etcd engine-debug h2spec fresh
	$(MAKE) --no-print-directory -j2 -Otarget lint-python lint-rust
	cd proxy/engine && cargo test --workspace --locked
	$(MAKE) --no-print-directory counter
	python -m tests.bench.counts check $(COUNTER)
	$(PYTEST) -n auto --ignore tests/mesh || $(ONCE_MORE) --ignore tests/mesh
	$(PYTEST) -n 2 --dist loadfile tests/mesh || $(ONCE_MORE) tests/mesh

lint-python:
	ruff check
	ruff format --check
	mypy
	lint-imports

lint-rust:
	cd proxy/engine && cargo fmt --check
	cd proxy/engine && cargo clippy --workspace --all-targets --locked -- -D warnings

bench: setup
	cd proxy/engine && cargo build --profile dist --locked && cargo build --profile dist --locked -p weft-core --example open_loop
	@$(TOOLS) install $(CARGO_TARGET_DIR)/dist/weft-engine .tools/bin/weft-engine-dist
	WEFT_ENGINE=$(CURDIR)/.tools/bin/weft-engine-dist WEFT_OPEN_LOOP=$(CARGO_TARGET_DIR)/dist/examples/open_loop python -m tests.bench

soak: setup
	cd proxy/engine && WEFT_SOAK=1 cargo test --release --workspace --locked
	WEFT_SOAK=1 pytest tests/contract tests/engine tests/mesh

# FUZZ_SECONDS each (60), of TARGETS (all).
fuzz: hello
	@proxy/engine/fuzz/run.sh $(TARGETS)

# After a change of the tables that fuzzing begins with.
seeds: setup
	python -m tests.engine.seeds

# After a change that makes the pure crates cheaper, or rightly dearer.
counts: setup counter
	python -m tests.bench.counts record $(COUNTER)

counter: hello
	cd proxy/engine && cargo build --locked -p weft-proofs --example counts
	@$(TOOLS) install $(CARGO_TARGET_DIR)/debug/examples/counts $(COUNTER)

setup: hello engine .venv/.ready etcd

hello:
	@$(TOOLS) cargo
	@$(TOOLS) claim
	@test -x .tools/bin/weft-engine || echo "Building Weft: about two minutes the first time (two cores, empty caches), seconds after that."

.tools/bin/uv:
	@$(TOOLS) uv

etcd:
	@$(TOOLS) etcd

h2spec:
	@$(TOOLS) h2spec

.venv/.ready: pyproject.toml requirements.lock | $(UV)
	$(UV) venv -q --allow-existing .venv
	$(UV) pip sync -q --require-hashes --compile-bytecode requirements.lock
	$(UV) pip install -q --no-deps -e .
	@touch $@

# `make lock` after a change of dependencies; `make test` refuses a lock made from others.
lock: | $(UV)
	$(UV) pip compile -q --universal --generate-hashes --python-version 3.11 --group dev pyproject.toml -o requirements.lock
	python3 ops/deploy/lock.py stamp

fresh:
	python3 ops/deploy/lock.py check

# Only copies are ever run: a target directory may serve several clones.
engine: hello
	cd proxy/engine && cargo build --release --locked
	@$(TOOLS) install $(CARGO_TARGET_DIR)/release/weft-engine .tools/bin/weft-engine

engine-debug: hello
	cd proxy/engine && cargo build --workspace --locked
	@$(TOOLS) install $(CARGO_TARGET_DIR)/debug/weft-engine $(ENGINE_DEBUG)
