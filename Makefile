# make demo   the whole story on this machine; no AWS account is touched
# make test   lint, types and every test; make soak and make steady are harder on it, and take longer
# make probe-aws   what only an AWS account can tell; never by itself
# Both prepare what they need in .venv; a Java older than 17, or none, is made good by the extra `local`.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

# Hundreds of processes import the same modules: each compiles them again where nobody keeps what that gave.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup demo check prepared test soak steady probe-aws bench format java clean

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "restrike needs Python 3.11 or newer, and $(PYTHON) is $$($(PYTHON) --version 2>&1)." >&2; \
	  echo "  Name another: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	@# A pip that knows dependency groups.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'pip>=25.1'
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[local,zst,archive]' --group dev
	@touch $@

demo: setup
	$(BIN)/restrike demo

check: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

# What each test process would have to do for itself: to compile all modules, and to start engines without an archive.
prepared: setup
	$(BIN)/python -m tests.servers.class_archive
	$(BIN)/pytest --collect-only -qq > build/collected.txt || { cat build/collected.txt; exit 1; }

# More than small machines have cores: much of it is waiting for other processes.
test: setup
	$(MAKE) --jobs 2 check prepared
	$(BIN)/pytest -n 5 --dist worksteal

# The long versions of those tests that have one: 50 kills each, which keep a core busy all the time.
soak: prepared
	$(BIN)/pytest -n 2 --dist worksteal --soak

# All tests three times, while something else keeps every core busy.
steady: prepared
	$(BIN)/python -m tests.steady

# What only AWS can tell, asked there: shows what it would make and cost. ARGS=--execute does it: docs/probe.md
probe-aws: setup
	$(BIN)/python -m tests.aws $(ARGS)

bench: setup
	$(BIN)/python -m bench

format: setup
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# The class file is in the repository, since most machines have a Java but no compiler.
java: src/restrike/local/LoopbackServer.class

src/restrike/local/LoopbackServer.class: src/restrike/local/LoopbackServer.java
	javac --release 17 -Xlint:all -g:none $<

clean:
	rm -rf .venv build dist
