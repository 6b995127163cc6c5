# sluice: `make help` lists the targets.

# sudo's PATH lacks Go on many machines.
export PATH := $(PATH):/usr/local/go/bin:/usr/lib/go/bin

CLANG ?= clang-19
STRIP ?= llvm-strip-19
LLVM_VERSION := 19

export BPF2GO_CC := $(CLANG)
export BPF2GO_STRIP := $(STRIP)
export BPF2GO_CFLAGS := -O2 -g -mcpu=v3 -Wall -Wextra -Werror -Wno-unused-parameter -nostdinc -I../../bpf/third_party/libbpf

.PHONY: generate
generate: ## regenerate everything that is generated from bpf/ (clang-19, llvm-19)
	@for tool in $(CLANG) $(STRIP); do \
		$$tool --version 2>/dev/null | grep -q "version $(LLVM_VERSION)\." || { \
			echo "make generate: $$tool of LLVM $(LLVM_VERSION) is needed: apt-get install clang-$(LLVM_VERSION) llvm-$(LLVM_VERSION)" >&2; exit 1; }; \
	done
	go generate ./internal/reasons ./internal/datapath
