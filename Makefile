# Everything CI runs, and everything a person runs, by one name each.
#
#   make demo     the main job on real input, about a minute
#   make test     what CI runs
#
# Longer jobs are targets of their own; docs/testing.md says what each proves.

SHELL      := /bin/bash
GO         ?= go
FOR        ?= 10m
FUZZTIME   ?= 60s
CLUSTERFOR ?= 20s
ROUNDS     ?= 20
PKGS       := ./...

# Real S3 servers for tests, in a cache of their own: they are no dependencies.
VERSITYGW_VERSION := v1.8.0
export VERSITYGW  ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/coffer/versitygw-$(VERSITYGW_VERSION)/versitygw
GOFAKES3_VERSION := v1.2.0
export GOFAKES3  ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/coffer/gofakes3-$(GOFAKES3_VERSION)/gofakes3

.PHONY: build
build: bin/coffer bin/coffer-kds

GO_FILES := $(shell git ls-files '*.go' 2>/dev/null) go.mod go.sum

bin/coffer bin/coffer-kds: $(GO_FILES)
	$(GO) build -o bin/ ./cmd/...

.PHONY: demo
demo: build
	scripts/demo.sh

.PHONY: test
test: lint
	$(GO) test -race -timeout 20m $(PKGS)
	GOMAXPROCS=1 $(GO) test -timeout 20m ./store/... ./fs/... .
	$(MAKE) test-pkcs11

# What is behind the build tag pkcs11, with a real SoftHSM2. CI installs it; on a
# machine without it, or without a C compiler, this says so and is left out.
.PHONY: test-pkcs11
test-pkcs11:
	@if command -v softhsm2-util >/dev/null && command -v gcc >/dev/null; then set -ex; \
		$(GO) vet -tags pkcs11 ./kds/master/... ./cmd/coffer-kds; \
		$(GO) tool staticcheck -tags pkcs11 ./kds/master/... ./cmd/coffer-kds; \
		$(GO) test -race -timeout 5m -tags pkcs11 ./kds/master/pkcs11/...; \
		$(GO) test -race -timeout 5m -tags pkcs11 ./cmd/coffer-kds -run TestPKCS11; \
	else echo "test-pkcs11: left out, for it needs SoftHSM2 and a C compiler: apt-get install softhsm2 gcc"; fi

# Every complaint of these is an error.
.PHONY: lint
lint:
	@out=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$out" ] || { echo "gofmt: $$out"; exit 1; }
	$(GO) mod tidy -diff
	$(GO) vet $(PKGS)
	$(GO) tool staticcheck $(PKGS)

# Random workloads, cut at every host call, of the store for FOR and then of the
# filesystem for as long: make crash FOR=1h
.PHONY: crash
crash:
	GOGC=400 $(GO) test -p 1 ./store ./fs -run TestCrashFor -count=1 -v -timeout 0 -crash.for=$(FOR)

# Three KDS nodes and a real etcd under load, for CLUSTERFOR in each of seven states.
.PHONY: cluster
cluster:
	$(GO) test ./cmd/coffer-kds -run 'TestCluster' -count=1 -v -timeout 0 -cluster.for=$(CLUSTERFOR)

# Volumes in a real object store, which it builds and starts: all tests of it, for
# longer.
.PHONY: s3
s3: versitygw gofakes3
	$(GO) test ./store/host/s3/... -count=1 -v -timeout 30m -s3.rounds=$(ROUNDS)
	$(GO) test ./store -run Bucket -count=1 -v -timeout 30m -crash.cuts=$$((4000 * $(ROUNDS)))

.PHONY: versitygw
versitygw: $(VERSITYGW)

$(VERSITYGW):
	GOBIN=$(dir $(VERSITYGW)) $(GO) install github.com/versity/versitygw/cmd/versitygw@$(VERSITYGW_VERSION)

.PHONY: gofakes3
gofakes3: $(GOFAKES3)

$(GOFAKES3):
	GOBIN=$(dir $(GOFAKES3)) $(GO) install github.com/johannesboyne/gofakes3/cmd/gofakes3@$(GOFAKES3_VERSION)

# Keys a second of a real KDS node over loopback, by the kind of evidence; with
# KDSLOADFLAGS="-total 1000000" what the node has resident meanwhile.
.PHONY: kds-load
kds-load: build
	$(GO) build -o bin/kdsload ./internal/kdsload
	for e in sim quote ego; do bin/kdsload -evidence $$e $(KDSLOADFLAGS) || exit 1; done

# What coffer mail has resident for a letter of MAILSIZE, and 64 MiB at most.
MAILSIZE ?= 2G
.PHONY: mail-memory
mail-memory: build
	scripts/mail-memory.sh $(MAILSIZE)

.PHONY: fuzz
fuzz:
	scripts/fuzz.sh $(FUZZTIME)

# Beside a plain directory and other encrypted filesystems, in one run on one disk.
.PHONY: bench
bench: build
	$(GO) run ./internal/bench $(BENCHFLAGS)
	$(if $(BENCHFLAGS),,$(MAKE) bench-bounds)

# Real programs on a mount that is killed: make soak SOAK='git sqlite'
.PHONY: soak
soak: build
	scripts/soak.sh $(SOAK)

# SQLite's own speed test, in a volume and in a plain directory.
.PHONY: speedtest1
speedtest1:
	scripts/speedtest1.sh

# Opening, walking and taking snapshots of volumes of up to a million files.
.PHONY: bench-bounds
bench-bounds:
	$(GO) test ./fs -run '^$$' -bench 'Open|Walk|TakeSnapshot' -benchtime 20x

# What another key takes, and costs: make bench-migrate BENCHFLAGS="-size 4096"
.PHONY: bench-migrate
bench-migrate:
	$(GO) run ./internal/bench/migrating $(BENCHFLAGS)

# What cleaning costs whoever writes: make bench-cleaning BENCHFLAGS="-size 4096"
.PHONY: bench-cleaning
bench-cleaning:
	$(GO) run ./internal/bench/cleaning $(BENCHFLAGS)

# Sending volumes, beside cat of the same bytes into the same kind of pipe.
.PHONY: bench-send
bench-send:
	$(GO) test ./store/host/transfer -run '^$$' -bench . -benchtime 11x

# make conformance PJDFSTEST=dir, a built pjdfstest
.PHONY: conformance
conformance: build
	scripts/conformance.sh $(PJDFSTEST)

# Both enclaves, built and signed, where EGo is installed:
#   make ego NODE=node.hcl JOURNAL=enclave.hcl KEY=private.pem
NODE    ?= cmd/coffer-kds/node.hcl
JOURNAL ?= examples/journal/enclave.hcl
KEY     ?= private.pem
.PHONY: ego
ego:
	scripts/ego.sh $(NODE) $(JOURNAL) $(KEY)

.PHONY: clean
clean:
	rm -rf bin bench-out
