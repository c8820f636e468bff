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
PKGS       := ./...

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

# Every complaint of these is an error.
.PHONY: lint
lint:
	@out=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$out" ] || { echo "gofmt: $$out"; exit 1; }
	$(GO) mod tidy -diff
	$(GO) vet $(PKGS)
	$(GO) tool staticcheck $(PKGS)

# Random workloads, cut at every host call: make crash FOR=1h
.PHONY: crash
crash:
	$(GO) test ./store -run TestCrashFor -count=1 -v -timeout 0 -crash.for=$(FOR)

# Three KDS nodes and a real etcd under load, for CLUSTERFOR in each of seven states.
.PHONY: cluster
cluster:
	$(GO) test ./cmd/coffer-kds -run 'TestCluster' -count=1 -v -timeout 0 -cluster.for=$(CLUSTERFOR)

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

# What cleaning costs whoever writes: make bench-cleaning BENCHFLAGS="-size 4096"
.PHONY: bench-cleaning
bench-cleaning:
	$(GO) run ./internal/bench/cleaning $(BENCHFLAGS)

# make conformance PJDFSTEST=dir, a built pjdfstest
.PHONY: conformance
conformance: build
	scripts/conformance.sh $(PJDFSTEST)

.PHONY: clean
clean:
	rm -rf bin bench-out
