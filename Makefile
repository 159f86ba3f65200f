# The commands that people and CI run. `make help` lists them.
CARGO ?= cargo
NEXTEST := $(shell $(CARGO) nextest --version >/dev/null 2>&1 && echo yes)
ifeq ($(NEXTEST),yes)
TEST = $(CARGO) nextest run --workspace --no-fail-fast
else
TEST = $(CARGO) test --workspace --no-fail-fast
endif

.DEFAULT_GOAL := help
.PHONY: help run demo test check fmt fuzz setup setup-tests

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

run: setup ## build, then start the whole stack with `tgp dev` (not production); Ctrl-C stops it
	$(CARGO) build --quiet --bin tgp
	./target/debug/tgp dev

demo: setup ## the whole flow and its refusals in a temporary directory, explained as it goes
	$(CARGO) build --quiet --bin tgp
	./target/debug/tgp demo

test: setup-tests ## everything that CI tests
	$(CARGO) test --workspace --doc --quiet
	scripts/with-postgres $(TEST)

check: setup ## format, lints, walls, documentation
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --quiet -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --quiet --document-private-items

SECONDS_EACH ?= 600
TARGETS ?=
fuzz: setup ## each parser for SECONDS_EACH seconds (600), or TARGETS="request token"; results into docs/RESULTS.md
	nice -n 19 scripts/fuzz $(SECONDS_EACH) $(TARGETS)

fmt: ## format the tree
	$(CARGO) fmt --all

setup:
	@scripts/setup

setup-tests:
	@scripts/setup --tests
	@scripts/python-tools
