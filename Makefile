# Everything a newcomer needs is `make demo` and `make test`; both set up what is missing first.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

CARGO ?= cargo
# `make bench` measures the release build, and gives its own values to these two.
PROFILE ?= dev
TIDEGATE ?= target/debug/tidegate
PLUGINS := salesforce sqlite field-map normalise-py
HOSTILE := hostile hostile-mapping
DEMO ?=
SECONDS ?= 600
# A file of tests that hangs fails by name after so many seconds; the longest takes three minutes.
PATIENCE ?= 1200
BENCH ?=

.PHONY: help demo test soak bench lint setup plugins hostile host

help: ## list the commands
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 18

demo: ## a CRM and a database kept in step before your eyes (DEMO="--records 20000" for more)
	@start=$$(date +%s); $(MAKE) --no-print-directory setup plugins; \
	$(TIDEGATE) demo --plugins target/plugins $(DEMO); \
	echo "make demo: $$(( $$(date +%s) - start )) s in all, set-up included"

test: ## every test, the kill loops and the end-to-end runs included
	@start=$$(date +%s); $(MAKE) --no-print-directory setup plugins hostile; \
	$(CARGO) test --workspace --quiet --config "target.'cfg(unix)'.runner='timeout $(PATIENCE)'"; \
	echo "make test: $$(( $$(date +%s) - start )) s in all, set-up included"

soak: setup plugins ## kill loops for as long as asked (SECONDS=3600)
	@$(CARGO) build --quiet -p tidegate-tests --bins; \
	$(CARGO) build --quiet -p tidegate-store --examples; \
	target/debug/tidegate-soak --seconds $(SECONDS)

bench: ## what things cost, as a table and in target/bench (BENCH="sandbox mapping" for some)
	@$(MAKE) --no-print-directory setup plugins PROFILE=release TIDEGATE=target/release/tidegate
	@$(CARGO) build --quiet --release -p tidegate-store --examples
	@target/release/tidegate plugin build tests/plugins/json-map --out target/plugins/json-map.wasm
	@$(CARGO) run --quiet --release -p tidegate-tests --bin tidegate-bench -- $(BENCH)

lint: ## formatting, clippy
	@$(CARGO) fmt --all --check
	@$(CARGO) clippy --workspace --all-targets --quiet -- -D warnings

setup:
	@sdk/setup-guests

host:
	@echo "building the host (the first time takes a quarter of an hour on two cores)"; \
	$(CARGO) build --quiet --profile $(PROFILE) -p tidegate

plugins: setup host
	@mkdir -p target/plugins; \
	for name in $(PLUGINS); do $(TIDEGATE) plugin build plugins/$$name --out target/plugins/$$name.wasm; done

# Plugins that misbehave, for the tests.
hostile: setup host
	@mkdir -p target/plugins; \
	for name in $(HOSTILE); do $(TIDEGATE) plugin build tests/plugins/$$name --out target/plugins/$$name.wasm; done
