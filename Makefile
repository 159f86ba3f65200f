# The commands that people and CI run. `make help` lists them.
CARGO ?= cargo
NEXTEST := $(shell $(CARGO) nextest --version >/dev/null 2>&1 && echo yes)
ifeq ($(NEXTEST),yes)
TEST = $(CARGO) nextest run --workspace --no-fail-fast
HOSTILE = $(CARGO) nextest run --package tgp --test hostile --no-fail-fast
else
TEST = $(CARGO) test --workspace --no-fail-fast
HOSTILE = $(CARGO) test --package tgp --test hostile --no-fail-fast --
endif

.DEFAULT_GOAL := help
.PHONY: help run demo test hostile check fuzz bench faults soak soak-short scan proof release fmt setup setup-tests

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

hostile: setup-tests ## hostile requests against a running gateway; ONLY=family for one, WRITE=1 ONLY=results writes docs/RESULTS.md
	$(HOSTILE) $(ONLY)

check: setup ## format, lints, walls, documentation
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --quiet -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --quiet --document-private-items

SECONDS_EACH ?= 600
TARGETS ?=
fuzz: setup ## each parser for SECONDS_EACH seconds (600), or TARGETS="request token"; results into docs/RESULTS.md
	nice -n 19 scripts/fuzz $(SECONDS_EACH) $(TARGETS)

bench: setup release ## CPU per request, latency, memory, beside the raw operations of the same run
	./target/release/tgp-proof bench $(ARGS)

faults: setup-tests release ## things break under load: what callers see, how long until all is well, no promise broken
	./target/release/tgp-proof faults $(ARGS)

soak: setup release ## half an hour of mixed load: nothing may grow (ARGS='--seconds 120' for less)
	./target/release/tgp-proof soak $(ARGS)

soak-short: setup ## two minutes of it with what was built for the tests: memory and descriptors
	$(CARGO) build --quiet -p tgp -p tgp-proof
	./target/debug/tgp-proof --tgp target/debug/tgp soak --seconds 120 --untimed

release:
	$(CARGO) build --release --quiet -p tgp -p tgp-proof

scan: setup ## scanners: testssl.sh on each TLS listener, cargo-deny over the dependencies
	scripts/scan

proof: ## all that is too long for CI, one after the other; says at the end what failed
	@failed=; for part in fuzz faults bench soak scan; do $(MAKE) $$part || failed="$$failed $$part"; done; \
	test -z "$$failed" || { echo "proof: failed:$$failed" >&2; exit 1; }

fmt: ## format the tree
	$(CARGO) fmt --all

setup:
	@scripts/setup

setup-tests:
	@scripts/setup --tests
	@scripts/python-tools
	@scripts/node-tools
	@scripts/openapi-documents
