# Everything runs in virtual environments made here. What the machine has to have is Python >= 3.11 with
# its C headers and a C++ compiler. What is tested is the built wheel, installed, never the source tree.

PYTHON ?= python3 python3.14 python3.13 python3.12 python3.11  # the first that fits is taken
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
# Few frames of each allocation are kept: to walk the stack of Python costs more than all the rest.
SANITIZER_OPTIONS := ASAN_OPTIONS=detect_leaks=0:malloc_context_size=4:quarantine_size_mb=64 \
	UBSAN_OPTIONS=print_stacktrace=1
SANITIZED = LD_PRELOAD="$$($(CXX) -print-file-name=libasan.so) $$($(CXX) -print-file-name=libstdc++.so)" \
	$(SANITIZER_OPTIONS) PYTHONMALLOC=malloc
FUZZ_TARGETS := encode answer http
CLANG ?= clang clang-22 clang-19 clang-16 clang-15 clang-14  # the first that is there is taken
FAST_TESTS := --ignore=tests/packaging --ignore=tests/torture

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.SECONDARY:
.PHONY: help demo test packaging test-long soak torture torture-short bench bench-short bench-gate bench-gate-update fluent-bit
.PHONY: lint format docs coverage sanitize fuzz fuzz-short threads portable wheel sdist clean

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*  ## \(.*\)/make \1 \2/p' Makefile | \
		while read -r make target text; do printf '%s %-18s %s\n' "$$make" "$$target" "$$text"; done

demo: $(VENV)/installed $(VENV)/local.extra  ## captured chunks into a local Kinesis, read back and compared
	$(VENV)/bin/kinesis-fast demo

test: $(VENV)/installed $(VENV)/test.extra  ## the fast tests
	$(VENV)/bin/pytest $(FAST_TESTS)

packaging: $(VENV)/installed $(VENV)/test.extra  ## the tests of wheel and sdist, on all Pythons there are
	$(VENV)/bin/pytest tests/packaging

test-long: $(VENV)/installed $(VENV)/test.extra  ## the tests that take minutes
	$(VENV)/bin/pytest -m long

soak: $(VENV)/installed $(VENV)/test.extra  ## 30 minutes of load and faults; SECONDS=60 for a short one
	$(VENV)/bin/python -P tests/torture/soak.py --seconds $(or $(SECONDS),1800)

torture: $(VENV)/installed $(VENV)/test.extra  ## faults, full disks, kill -9: all of it, minutes
	$(VENV)/bin/pytest -m "long or not long" tests/torture tests/storage tests/fuzz

torture-short: $(VENV)/installed $(VENV)/test.extra  ## the fast ones of them, a minute or two
	$(VENV)/bin/pytest tests/torture

bench: $(VENV)/installed $(VENV)/bench.group  ## all benchmarks
	$(VENV)/bin/python benchmarks/run.py

bench-short: $(VENV)/installed $(VENV)/bench.group  ## the benchmarks, fewer rounds
	$(VENV)/bin/python benchmarks/run.py --short

bench-gate: $(VENV)/installed  ## fails when encoding takes more instructions than recorded; needs valgrind
	$(VENV)/bin/python benchmarks/instructions.py

bench-gate-update: $(VENV)/installed  ## record the instructions of now in benchmarks/instructions.json
	$(VENV)/bin/python benchmarks/instructions.py --update

fluent-bit: $(VENV)/installed $(VENV)/test.extra  ## tests and a 200 MB run with a real Fluent Bit: FLUENT_BIT=/path or on PATH
	$(VENV)/bin/pytest tests/fluent_bit
	$(VENV)/bin/python benchmarks/fluent_bit.py --check

lint: export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
lint: $(VENV)/installed $(VENV)/test.extra $(VENV)/lint.group  ## ruff, mypy --strict, cython-lint, stale docs
	ruff check
	ruff format --check
	mypy
	cython-lint src_pyx
	python -P tools/docs.py --check

format: $(VENV)/created $(VENV)/lint.group  ## let ruff mend and lay out the Python files
	$(VENV)/bin/ruff check --fix
	$(VENV)/bin/ruff format

docs: $(VENV)/installed  ## README's table of options and docs/api.md, from the source
	$(VENV)/bin/python -P tools/docs.py

coverage: $(COVERAGE)/installed $(COVERAGE)/test.extra $(COVERAGE)/coverage.group  ## covered lines, Python and .pyx
	find build/coverage -name '*.gcda' -delete
	$(COVERAGE)/bin/coverage run $(COVERAGE)/bin/pytest $(FAST_TESTS)
	$(COVERAGE)/bin/coverage combine --quiet
	$(COVERAGE)/bin/coverage report
	$(COVERAGE)/bin/python tools/compiled_coverage.py build/coverage

sanitize: $(SANITIZE)/installed $(SANITIZE)/test.extra  ## the tests of the core under ASan and UBSan
	$(SANITIZED) $(SANITIZE)/bin/pytest --capture=sys tests/core tests/host

fuzz: $(FUZZ)/installed $(FUZZ)/fuzz.group  ## libFuzzer, SECONDS=600 for each of FUZZ_TARGETS; needs clang
	@mkdir -p build/fuzz-found
	for target in $(FUZZ_TARGETS); do \
		LD_PRELOAD="$$($(FUZZ)/bin/python -c 'import atheris; print(atheris.path())')/asan_with_fuzzer.so" \
		$(SANITIZER_OPTIONS) PYTHONPATH=tests/support $(FUZZ)/bin/python tests/fuzz/guided.py $$target \
			--corpus build/fuzz-corpus/$$target -artifact_prefix=build/fuzz-found/$$target- \
			-max_total_time=$(or $(SECONDS),600) -print_final_stats=1 || exit 1; done

fuzz-short: $(SANITIZE)/installed  ## half a minute of random inputs, the same ones each time; no clang
	$(SANITIZED) PYTHONPATH=tests/support $(SANITIZE)/bin/python tests/fuzz/mutate.py encode --seconds 20
	$(SANITIZED) PYTHONPATH=tests/support $(SANITIZE)/bin/python tests/fuzz/mutate.py answer --seconds 5
	$(SANITIZED) PYTHONPATH=tests/support $(SANITIZE)/bin/python tests/fuzz/mutate.py http --seconds 5

threads: $(THREADS)/installed $(THREADS)/test.extra  ## the tests of threads under TSan
	LD_PRELOAD="$$($(CXX) -print-file-name=libtsan.so) $$($(CXX) -print-file-name=libstdc++.so)" \
	TSAN_OPTIONS=halt_on_error=1 PYTHONMALLOC=malloc \
		$(THREADS)/bin/pytest --capture=sys tests/core/test_threads.py

portable: $(PORTABLE)/installed $(PORTABLE)/test.extra  ## the tests of the core with the kernels for any CPU
	$(PORTABLE)/bin/pytest tests/core

wheel: $(VENV)/installed $(VENV)/test.extra  ## dist/*.whl, built from scratch
	rm -rf build/release dist/*.whl
	$(VENV)/bin/pyproject-build --wheel

sdist: $(VENV)/installed $(VENV)/test.extra  ## dist/*.tar.gz
	rm -rf dist/*.tar.gz
	$(VENV)/bin/pyproject-build --sdist

clean:  ## remove all that was built, the virtual environments too
	rm -rf build dist *.egg-info .coverage* $(VENV) $(COVERAGE) $(SANITIZE) $(PORTABLE) $(FUZZ) $(THREADS)

# --- the virtual environments; each file is the stamp of one step ---

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
		"install clang); make fuzz-short does without" >&2; exit 1; }
	@echo $(FOUND_CLANG) > $@

# Compiled modules are kept for the next build, files that were removed from the tree must not be.
%/installed: %/created $(SOURCES)
	@if [ -d build ]; then find build -path '*/lib*/*' -type f ! -name '*.so' -delete; fi
	$*/bin/pip --quiet install .
	@touch $@

# What an extra or a dependency group adds to an environment that has the package already.
%.extra: pyproject.toml
	$(@D)/bin/pip --quiet install 'kinesis-fast[$(basename $(@F))]'
	@touch $@

%.group: pyproject.toml
	$(@D)/bin/pip --quiet install --group $(basename $(@F))
	@touch $@
