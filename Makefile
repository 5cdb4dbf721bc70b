# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed

.PHONY: demo test test-all test-numerical lint docs bench torture mutation clean

$(INSTALLED): pyproject.toml constraints.txt CMakeLists.txt $(wildcard src/igr/field/core/*)
	test -d .venv || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@

demo: $(INSTALLED)
	mkdir -p demo
	$(BIN)/igr example body demo/body.ply
	$(BIN)/igr reconstruct demo/body.ply -o demo/body_mesh.ply --model demo/body.igr --report demo/body.html

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run --Werror $(wildcard src/igr/field/core/*.cpp src/igr/field/core/*.h tests/*.cpp)
	$(BIN)/pyright
	$(BIN)/lint-imports --no-cache

# Two processes share out the files of tests, in random order.
PYTEST := $(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

test: lint
	$(PYTEST) -m "not slow"

# With the slow ones, and the share of lines and branches of src/igr that are run: at least 90 %.
test-all: lint
	$(PYTEST) --cov
	$(MAKE) test-numerical

# What the native core computes, on every instruction set of this machine and with 1, 2 and 4 threads.
SETS := from igr.field import native; print(*native.instruction_sets() if native.available() else [])
test-numerical: $(INSTALLED)
	set -e; for set in $$($(BIN)/python -c "$(SETS)"); do for threads in 1 2 4; do \
		echo "IGR_INSTRUCTION_SET=$$set IGR_THREADS=$$threads"; \
		IGR_INSTRUCTION_SET=$$set IGR_THREADS=$$threads $(PYTEST) -m "numerical and not slow"; \
	done; done

docs: $(INSTALLED)
	$(BIN)/python docs/make_reference.py

bench: $(INSTALLED)
	$(BIN)/python -m benchmarks

# Faults on purpose, 30 minutes: damaged files, kill -9, full disks, hostile numbers, load.
torture: $(INSTALLED)
	$(BIN)/python -m torture

# Small changes of five modules, one at a time, and how many the tests notice: 40 minutes.
mutation: $(INSTALLED)
	$(BIN)/python -m torture --minutes 40 mutants

clean:
	rm -rf .venv build demo
