# sluice: `make help` lists the targets.

# Where dockerd is unpacked when this machine has none.
DOCKER := $(CURDIR)/.cache/docker

# sudo's PATH lacks Go on many machines.
export PATH := $(PATH):/usr/local/go/bin:/usr/lib/go/bin:$(DOCKER)/usr/sbin:$(DOCKER)/usr/bin

PREFIX ?= /usr/local
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X main.version=$(VERSION)

# The generated objects are compared byte by byte, so the compiler is pinned.
LLVM_VERSION := 19
CLANG ?= clang-$(LLVM_VERSION)
STRIP ?= llvm-strip-$(LLVM_VERSION)
export BPF2GO_CC := $(CLANG)
export BPF2GO_STRIP := $(STRIP)
export BPF2GO_CFLAGS := -O2 -g -mcpu=v3 -Wall -Wextra -Werror -Wno-unused-parameter -nostdinc -I../../bpf/third_party/libbpf

# command:package of what the tests and the demo call
TOOLS := curl:curl ip:iproute2 busybox:busybox-static nsenter:util-linux
BENCH_TOOLS := busybox:busybox-static iptables-legacy-restore:iptables nft:nftables
TEST_TOOLS := $(TOOLS) $(BENCH_TOOLS) prometheus:prometheus dig:bind9-dnsutils

KERNEL_TOOLS := $(TOOLS) qemu-system-x86_64:qemu-system-x86 xz:xz-utils

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 18

.PHONY: build
build: go ## build bin/sluice and its companions; needs Go alone
	CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)' -o bin/ ./cmd/...

.PHONY: generate
generate: go ## regenerate what comes from bpf/ (clang-19 and llvm-19, no others)
	@for tool in $(CLANG) $(STRIP); do \
		$$tool --version 2>/dev/null | grep -q "version $(LLVM_VERSION)\." || { \
			echo "make generate: $$tool is not of LLVM $(LLVM_VERSION): apt-get install clang-$(LLVM_VERSION) llvm-$(LLVM_VERSION)" >&2; exit 1; }; \
	done
	go generate ./internal/reasons ./internal/datapath ./internal/bench

.PHONY: demo
demo: root build bench-tools ## a tour on real packets, in namespaces of its own (root)
	./internal/demo/demo.sh bin/sluice bin/sluice-bench

# More tests at once than CPUs: many wait for what the kernel or a peer does.
.PHONY: test
test: root go test-tools dockerd ## every test, on real packets (root)
	go test -timeout 20m -parallel 4 ./...

# BENCH has flags of bin/sluice-bench: make bench BENCH='-rounds 21 -json rows.json'
.PHONY: bench
bench: root build bench-tools ## sluice beside iptables, nftables, a router and plain loopback (root)
	bin/sluice-bench $(BENCH)

.PHONY: bench-programs
bench-programs: root go ## what each way through the programs costs (root)
	go test -run '^$$' -bench . ./internal/datapath

SOAK ?= integrity,kills,cycles,floods,restarts,suspend,uplinks
SOAK_KILLS ?= 100
SOAK_SEED ?= 0
SOAK_STREAM ?= 1000000000
SOAK_DATAGRAMS ?= 100000000
SOAK_CYCLES ?= 10000
SOAK_CONNECTIONS ?= 1000
SOAK_FLOOD ?= 1000000
SOAK_RESTARTS ?= 40
SOAK_FLAPS ?= 10
SOAK_SUSPEND ?= 5s

.PHONY: soak
soak: root go test-tools ## what needs much traffic or many repetitions to go wrong (root)
	go test -timeout 2h -v -parallel 1 -run '^TestSoak$$' ./internal/e2e -soak=$(SOAK) -soak.seed=$(SOAK_SEED) \
		-soak.kills=$(SOAK_KILLS) -soak.stream=$(SOAK_STREAM) -soak.datagrams=$(SOAK_DATAGRAMS) \
		-soak.cycles=$(SOAK_CYCLES) -soak.connections=$(SOAK_CONNECTIONS) -soak.flood=$(SOAK_FLOOD) \
		-soak.restarts=$(SOAK_RESTARTS) -soak.flaps=$(SOAK_FLAPS) -soak.suspend=$(SOAK_SUSPEND)

FUZZTIME ?= 60s
.PHONY: fuzz
fuzz: root go ## send arbitrary bytes into the tc programs for FUZZTIME (60s), beside the model (root)
	go test -run '^$$' -fuzz '^FuzzPackets$$' -fuzztime $(FUZZTIME) ./internal/datapath

KERNELS ?= 6.1 6.12
.PHONY: test-kernels
test-kernels: go kernel-tools ## single packets and tutorial rows on KERNELS, in QEMU
	go run ./internal/kerneltest $(KERNELS)

.PHONY: lint
lint: go ## gofmt, go vet, staticcheck
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { echo "gofmt differs:"; gofmt -l $$(git ls-files '*.go'); exit 1; }
	go vet ./...
	go run honnef.co/go/tools/cmd/staticcheck ./...

.PHONY: install
install: build ## install into PREFIX (/usr/local)
	install -D -m 755 -t $(DESTDIR)$(PREFIX)/bin bin/sluice bin/sluice-daemon bin/sluice-shim

.PHONY: clean
clean: ## remove what build made
	rm -rf bin

.PHONY: go
go:
	@command -v go >/dev/null || { echo "make: Go is not in PATH nor in /usr/local/go/bin: see https://go.dev/doc/install" >&2; exit 1; }
	@need=$$(sed -n 's/^go //p' go.mod); have=$$(go env GOVERSION | sed 's/^go//'); \
	test "$$(printf '%s\n' $$need $$have | sort -V | head -n 1)" = "$$need" || { \
		echo "make: Go $$have is too old, $$need or newer is needed: see https://go.dev/doc/install" >&2; exit 1; }

.PHONY: root
root:
	@test "$$(id -u)" = 0 || { echo "make: this needs root: it loads programs and makes network namespaces" >&2; exit 1; }

# What is missing is installed where apt-get is there to do it.
define install_tools
	@missing=; for tool in $(1); do \
		command -v $${tool%%:*} >/dev/null || missing="$$missing $${tool##*:}"; \
	done; \
	test -z "$$missing" || { echo "installing$$missing"; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; } || { \
		echo "make: install these first:$$missing" >&2; exit 1; }
endef

.PHONY: bench-tools test-tools kernel-tools
bench-tools:
	$(call install_tools,$(BENCH_TOOLS))
test-tools:
	$(call install_tools,$(TEST_TOOLS))
kernel-tools:
	$(call install_tools,$(KERNEL_TOOLS))

# Unpacked and not installed: an installed one would start, and change the network
# of this machine.
.PHONY: dockerd
dockerd:
	@command -v dockerd >/dev/null || { echo "fetching dockerd"; \
		dir=$$(mktemp -d) && cd $$dir && apt-get update -qq && \
		apt-get -o APT::Sandbox::User=root -qq download docker.io containerd runc && \
		for deb in *.deb; do dpkg-deb -x $$deb tree; done && \
		mkdir -p $(dir $(DOCKER)) && mv tree $(DOCKER) && rm -r $$dir; } || { \
		echo "make: install dockerd first" >&2; exit 1; }
	@! ldd $$(command -v dockerd) | grep -q 'not found' || \
		DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends libdevmapper1.02.1 libsystemd0 >/dev/null
