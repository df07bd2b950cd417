# Commands of this repository; `make` alone lists them. Each does its own set-up.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
export CARGO_TARGET_DIR ?= $(if $(XDG_CACHE_HOME),$(XDG_CACHE_HOME),$(HOME)/.cache)/x0tta6bl4/target
export PATH := $(HOME)/.cargo/bin:$(PATH)
NEXTEST_PROFILE ?= default
BIN := $(CARGO_TARGET_DIR)/debug

.DEFAULT_GOAL := help
.PHONY: help setup build next demo testnet test fuzz check bench docs soak weigh mutants mesh-report

help: ## List the commands
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

setup: ## Install what building and testing need (quick when nothing is missing)
	@scripts/setup

build: setup ## Build node, agent, wallet and the demo (development profile)
	@echo "building into $(CARGO_TARGET_DIR)"
	cargo build --locked -p x0-service -p x0-agent -p x0-wallet -p x0-scenario -p x0-lab --bins

next: setup ## Build the program of a next release, for the rehearsal of an upgrade
	@# It differs in one feature of one crate; the ordinary program takes its place in the folder of binaries again.
	cargo build --locked -p x0-service --bin x0-node --features x0-runtime/next-spec
	install -D $(BIN)/x0-node $(CARGO_TARGET_DIR)/next-release/x0-node
	cargo build --locked -p x0-service --bin x0-node

demo: build ## Run the main job from end to end and print its ledger
	$(BIN)/x0-demo --bin-dir $(BIN)

testnet: build ## Start four validators in network namespaces and watch them (needs root; Ctrl-C ends it)
	$(BIN)/x0-lab testnet --validators $${VALIDATORS:-4} $${SECONDS_MAX:+--seconds $$SECONDS_MAX}

test: next ## Run the whole suite
	cargo build --locked --workspace --exclude x0-fuzz --bins
	cargo nextest run --locked --workspace --exclude x0-fuzz --profile $(NEXTEST_PROFILE)
	scripts/test-clients
	cargo xtask fuzz --seconds 3

fuzz: setup ## Fuzz everything that reads bytes from outside (FUZZ_SECONDS=60 for each target)
	cargo xtask fuzz --seconds $${FUZZ_SECONDS:-60}

check: setup ## Tidy, lints, licences (what a change must pass besides the tests)
	cargo xtask tidy
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	cargo check --locked -p x0-crypto -p x0-light --no-default-features
	scripts/deny

bench: setup ## Measure speed and size in the release profile; writes docs/qa/
	@# The comparison build comes first: what stays in the folder of releases is the product.
	cargo build --locked --release -p x0-service -p x0-load --bins \
		--features x0-service/bench-ed25519,x0-load/bench-ed25519
	mkdir -p $(CARGO_TARGET_DIR)/bench-ed25519
	cp $(CARGO_TARGET_DIR)/release/x0-node $(CARGO_TARGET_DIR)/release/x0-load $(CARGO_TARGET_DIR)/bench-ed25519/
	cargo build --locked --release -p x0-service -p x0-load --bins
	$(CARGO_TARGET_DIR)/release/x0-load report --bin-dir $(CARGO_TARGET_DIR)/release \
		--classical-dir $(CARGO_TARGET_DIR)/bench-ed25519 --output docs/qa

mesh-report: ## Measure the mesh beside its rivals in network namespaces (needs root; MESH_FAULTS=20); writes docs/qa/mesh.*
	@scripts/setup rivals
	cargo build --locked --release -p x0-mesh-lab -p x0-agent --bins
	$(CARGO_TARGET_DIR)/release/x0-mesh-lab report --faults $${MESH_FAULTS:-20} --output docs/qa

docs: setup ## Build the API documentation of our own crates
	cargo doc --locked --workspace --no-deps

weigh: setup ## Measure what calls cost and rewrite the pallets' weights (release profile)
	cargo run --locked --release -p x0-executor --example weigh -- write

mutants: ## Change each line of the money's arithmetic and see whether a test notices (about an hour on two cores)
	@scripts/setup mutants
	CARGO_INCREMENTAL=1 CARGO_PROFILE_DEV_OPT_LEVEL=0 CARGO_TARGET_DIR=$(CARGO_TARGET_DIR)/mutants \
		cargo mutants --package x0-accounting --baseline skip --timeout 60 --output $(CARGO_TARGET_DIR)/mutants -- --lib

soak: build next ## Long runs, each with its count: SOAK_SEEDS, SOAK_KILLS, SOAK_DAMAGES, SOAK_TWINS, SOAK_HEIGHT, SOAK_CALLS
	cargo build --locked -p x0-simulation --bins
	$(BIN)/x0-simulate soak --seeds $${SOAK_SEEDS:-100000} --state $(CARGO_TARGET_DIR)/simulation-soak.json
	X0_DAMAGES=$${SOAK_DAMAGES:-10000} cargo nextest run --locked -p x0-sign-guard -p x0-consensus \
		--profile soak --no-capture -E 'test(every_damage) | binary(damage)'
	X0_MARKET_CALLS=$${SOAK_CALLS:-1000000} cargo nextest run --locked -p pallet-x0-marketplace \
		--profile soak --no-capture -E 'test(calls_without_number)'
	$(BIN)/x0-soak --bin-dir $(BIN) --kills $${SOAK_KILLS:-1000}
	$(BIN)/x0-lab --bin-dir $(BIN) run kills --count $${SOAK_KILLS:-1000}
	$(BIN)/x0-lab --bin-dir $(BIN) run wiped --height $${SOAK_HEIGHT:-10000}
	$(BIN)/x0-lab --bin-dir $(BIN) run handshakes
	$(BIN)/x0-lab --bin-dir $(BIN) run manual
	$(BIN)/x0-lab --bin-dir $(BIN) run upgrade
	$(BIN)/x0-lab --bin-dir $(BIN) run twin --count $${SOAK_TWINS:-500} --state $(CARGO_TARGET_DIR)/twins-soak.json
