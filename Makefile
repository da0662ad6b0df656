# Every target makes the virtual environment it runs in. The machine needs Python >= 3.11 with its C
# headers, those of zlib, and a C++ compiler. The tests run against the installed wheel, never against the source tree.

PYTHON ?= python3 python3.14 python3.13 python3.12 python3.11  # make uses the first suitable one
FITS := import ensurepip, os, sys, sysconfig, venv; headers = sysconfig.get_path("include"); \
	sys.exit(sys.version_info < (3, 11) or not os.path.exists(headers + "/Python.h"))

VENV := .venv
COVERAGE := .venv-coverage
SANITIZE := .venv-sanitize
PORTABLE := .venv-portable
FUZZ := .venv-fuzz
THREADS := .venv-threads
SOURCES := $(shell find kinesis_fast src_pyx -name __pycache__ -prune -o -print) \
	setup.py pyproject.toml MANIFEST.in README.md LICENSE
# Keep few frames for each allocation: walking Python's stack costs more than everything else.
SANITIZER_OPTIONS := ASAN_OPTIONS=detect_leaks=0:malloc_context_size=4:quarantine_size_mb=64 \
	UBSAN_OPTIONS=print_stacktrace=1
SANITIZED = LD_PRELOAD="$$($(CXX) -print-file-name=libasan.so) $$($(CXX) -print-file-name=libstdc++.so)" \
	$(SANITIZER_OPTIONS) PYTHONMALLOC=malloc
FUZZ_TARGETS := encode answer cbor http
CLANG ?= clang clang-22 clang-19 clang-16 clang-15 clang-14  # make uses the first one found
# As many processes as processors, but no more than 4: the servers that the tests start need some too.
PARALLEL := --numprocesses=auto --maxprocesses=4 --dist=worksteal
FAST_TESTS := --ignore=tests/packaging --ignore=tests/torture
# Not the tests that start many processes or send much: e2e, host, the command, golden files for each kernel.
QUICK_TESTS := tests/core tests/config tests/delivery tests/storage tests/transport \
	$(wildcard tests/test_*.py) --ignore=tests/core/test_golden.py --ignore=tests/core/test_mutations.py \
	--ignore=tests/delivery/test_fork.py --ignore=tests/storage/test_durability.py

# Without bytecode each process of the tests would compile all that it imports: 3 s of CPU time, not 1.5.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.SECONDARY:
.PHONY: help demo test test-quick test-slow test-long mutants packaging soak torture torture-short fluent-bit
.PHONY: bench bench-short bench-levels bench-gate bench-gate-update
.PHONY: monitoring monitoring-picture
.PHONY: lint format docs coverage sanitize fuzz fuzz-short threads portable arm64 wheel sdist clean

help:  ## list the targets
	@sed -n 's/^\([a-z0-9-]*\):.*  ## \(.*\)/make \1 \2/p' Makefile | \
		while read -r make target text; do printf '%s %-18s %s\n' "$$make" "$$target" "$$text"; done

demo: $(VENV)/installed $(VENV)/local.extra  ## send captured chunks to a local Kinesis, read back, compare
	$(VENV)/bin/kinesis-fast demo

test-quick: $(VENV)/installed $(VENV)/test.extra  ## run the tests for the inner loop, in at most a minute
	$(VENV)/bin/pytest $(PARALLEL) --quick -m "not long and not slow and not heavy" $(QUICK_TESTS)

test: $(VENV)/installed $(VENV)/test.extra  ## run all tests but the slow and long ones, packaging and torture
	$(VENV)/bin/pytest $(PARALLEL) -m "not long and not slow" $(FAST_TESTS)

test-slow: $(VENV)/installed $(VENV)/test.extra  ## run the tests that wait or measure, one at a time
	$(VENV)/bin/pytest -m "slow and not long" $(FAST_TESTS)

test-long: $(VENV)/installed $(VENV)/test.extra  ## run the tests that take minutes
	$(VENV)/bin/pytest -m long

mutants: $(VENV)/installed $(VENV)/test.extra $(VENV)/mutants.group  ## report faults that no test notices; ONLY=core
	$(VENV)/bin/python tools/mutants.py $(if $(ONLY),--only "$(ONLY)")

packaging: $(VENV)/installed $(VENV)/test.extra  ## test wheel and sdist on every Python of the machine
	$(VENV)/bin/pytest tests/packaging

soak: $(VENV)/installed $(VENV)/test.extra  ## send under faults for 30 minutes; SECONDS=60 shortens it
	$(VENV)/bin/python -P tests/torture/soak.py --seconds $(or $(SECONDS),1800)

torture: $(VENV)/installed $(VENV)/test.extra  ## run every test with faults, full disks, kill -9, in minutes
	$(VENV)/bin/pytest -m "long or not long" tests/torture tests/storage tests/fuzz

torture-short: $(VENV)/installed $(VENV)/test.extra  ## run the fast ones of these, in a minute or two
	$(VENV)/bin/pytest tests/torture

bench: $(VENV)/installed $(VENV)/bench.group  ## run all benchmarks
	$(VENV)/bin/python benchmarks/run.py

bench-short: $(VENV)/installed $(VENV)/bench.group  ## run all benchmarks with fewer rounds
	$(VENV)/bin/python benchmarks/run.py --short

bench-levels: $(VENV)/installed $(VENV)/bench.group  ## fail if wide kernels are slower than narrow ones
	$(VENV)/bin/python benchmarks/levels.py

bench-gate: $(VENV)/installed  ## fail if encoding takes more instructions than recorded; needs valgrind
	$(VENV)/bin/python benchmarks/instructions.py

bench-gate-update: $(VENV)/installed  ## record the current instructions in benchmarks/instructions.json
	$(VENV)/bin/python benchmarks/instructions.py --update

fluent-bit: $(VENV)/installed $(VENV)/test.extra  ## test with a real Fluent Bit, also 200 MB; FLUENT_BIT=/path
	$(VENV)/bin/pytest tests/fluent_bit
	$(VENV)/bin/python benchmarks/fluent_bit.py --check

monitoring: $(VENV)/installed $(VENV)/test.extra  ## test alerts and dashboard with a real Prometheus; needs Debian's prometheus
	$(VENV)/bin/pytest -rs -m "slow or not slow" tests/monitoring

monitoring-picture: $(VENV)/installed $(VENV)/test.extra  ## draw the picture of the dashboard from real data, in 3 minutes
	$(VENV)/bin/python tools/monitoring.py docs/monitoring/dashboard.svg

lint: export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
lint: $(VENV)/installed $(VENV)/test.extra $(VENV)/lint.group  ## run ruff, mypy --strict and cython-lint; look for stale docs
	ruff check
	ruff format --check
	mypy
	cython-lint src_pyx
	python -P tools/docs.py --check

format: $(VENV)/created $(VENV)/lint.group  ## fix and format the Python files with ruff
	$(VENV)/bin/ruff check --fix
	$(VENV)/bin/ruff format

docs: $(VENV)/installed  ## write README's table of options and docs/api.md from the source
	$(VENV)/bin/python -P tools/docs.py

coverage: $(COVERAGE)/installed $(COVERAGE)/test.extra $(COVERAGE)/coverage.group  ## measure which lines the tests cover
	find build/coverage -name '*.gcda' -delete
	$(COVERAGE)/bin/coverage run $(COVERAGE)/bin/pytest $(FAST_TESTS) --ignore=tests/tools
	$(COVERAGE)/bin/coverage combine --quiet
	$(COVERAGE)/bin/coverage report
	$(COVERAGE)/bin/python tools/compiled_coverage.py build/coverage

sanitize: $(SANITIZE)/installed $(SANITIZE)/test.extra  ## test the core under ASan and UBSan
	$(SANITIZED) $(SANITIZE)/bin/pytest --capture=sys tests/core tests/host

fuzz: $(FUZZ)/installed $(FUZZ)/test.extra $(FUZZ)/fuzz.group  ## run libFuzzer, SECONDS=600 for each of FUZZ_TARGETS; needs clang
	@mkdir -p build/fuzz-found
	for target in $(FUZZ_TARGETS); do \
		LD_PRELOAD="$$($(FUZZ)/bin/python -c 'import atheris; print(atheris.path())')/asan_with_fuzzer.so" \
		$(SANITIZER_OPTIONS) PYTHONPATH=tests/support $(FUZZ)/bin/python tests/fuzz/guided.py $$target \
			--corpus build/fuzz-corpus/$$target -artifact_prefix=build/fuzz-found/$$target- \
			-max_total_time=$(or $(SECONDS),600) -print_final_stats=1 || exit 1; done

fuzz-short: $(SANITIZE)/installed $(SANITIZE)/test.extra  ## feed random inputs for half a minute, always the same ones
	$(SANITIZED) PYTHONPATH=tests/support $(SANITIZE)/bin/python tests/fuzz/mutate.py encode --seconds 20
	$(SANITIZED) PYTHONPATH=tests/support $(SANITIZE)/bin/python tests/fuzz/mutate.py answer --seconds 5
	$(SANITIZED) PYTHONPATH=tests/support $(SANITIZE)/bin/python tests/fuzz/mutate.py cbor --seconds 5
	$(SANITIZED) PYTHONPATH=tests/support $(SANITIZE)/bin/python tests/fuzz/mutate.py http --seconds 5

threads: $(THREADS)/installed $(THREADS)/test.extra  ## test the threads under TSan
	LD_PRELOAD="$$($(CXX) -print-file-name=libtsan.so) $$($(CXX) -print-file-name=libstdc++.so)" \
	TSAN_OPTIONS=halt_on_error=1 PYTHONMALLOC=malloc \
		$(THREADS)/bin/pytest --capture=sys tests/core/test_threads.py

portable: $(PORTABLE)/installed $(PORTABLE)/test.extra  ## test the core with the kernels for an unknown CPU
	$(PORTABLE)/bin/pytest tests/core

arm64: $(VENV)/created $(VENV)/mutants.group  ## test the wheel for arm64 by emulation, on Debian; TESTS=tests/core
	$(VENV)/bin/python tools/arm64.py -- $(TESTS)

wheel: $(VENV)/installed $(VENV)/test.extra  ## build dist/*.whl from scratch
	rm -rf build/release dist/*.whl
	$(VENV)/bin/pyproject-build --wheel

sdist: $(VENV)/installed $(VENV)/test.extra  ## build dist/*.tar.gz
	rm -rf dist/*.tar.gz
	$(VENV)/bin/pyproject-build --sdist

clean:  ## remove everything built here, virtual environments included
	rm -rf build dist *.egg-info .arm64 .coverage* .node $(VENV) $(COVERAGE) $(SANITIZE) $(PORTABLE) $(FUZZ) $(THREADS)

# --- The virtual environments: each file records that a step is done. ---

%/created:
	@command -v $(firstword $(CXX)) >/dev/null || command -v c++ >/dev/null || { \
		echo "make: no C++ compiler found; install one (Debian: apt-get install g++)" >&2; exit 1; }
	@for python in $(PYTHON); do \
		if $$python -c '$(FITS)' 2>/dev/null; then exec $$python -m venv --clear $*; fi; done; \
	echo "make: no Python >= 3.11 with venv and C headers (Debian: apt-get install python3-venv" \
		"python3-dev) among: $(strip $(PYTHON)); name one with make PYTHON=/path/to/python" >&2; exit 1
	$*/bin/pip --quiet --disable-pip-version-check install --upgrade 'pip>=25.1'
	@touch $@

$(COVERAGE)/installed: export KINESIS_FAST_BUILD := coverage
$(SANITIZE)/installed: export KINESIS_FAST_BUILD := sanitize
$(PORTABLE)/installed: export KINESIS_FAST_BUILD := portable
$(THREADS)/installed: export KINESIS_FAST_BUILD := threads
$(FUZZ)/installed: export KINESIS_FAST_BUILD := fuzz
$(FUZZ)/installed: export CC = $(FOUND_CLANG)
$(FUZZ)/installed: export CXX = $(subst clang,clang++,$(FOUND_CLANG))
$(FUZZ)/installed: $(FUZZ)/clang
FOUND_CLANG = $(firstword $(foreach clang,$(CLANG),$(notdir $(shell command -v $(clang)))))

$(FUZZ)/clang: $(FUZZ)/created
	@test -n "$(FOUND_CLANG)" || { echo "make: fuzzing by coverage needs clang (Debian: apt-get" \
		"install clang); make fuzz-short needs none" >&2; exit 1; }
	@echo $(FOUND_CLANG) > $@

# The next build reuses the compiled modules, but must not pick up files deleted from the tree.
%/installed: %/created $(SOURCES)
	@if [ -d build ]; then find build -path '*/lib*/*' -type f ! -name '*.so' -delete; fi
	$*/bin/pip --quiet install .
	@touch $@

# Add an extra or a dependency group to an environment that has the package.
%.extra: pyproject.toml
	$(@D)/bin/pip --quiet install 'kinesis-fast[$(basename $(@F))]'
	@touch $@

%.group: pyproject.toml
	$(@D)/bin/pip --quiet install --group $(basename $(@F))
	@touch $@
