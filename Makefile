# Each target does its own setup: one virtual environment with hash-pinned packages, reused while nothing changes.
# make PYTHON=python3.12 …   use another interpreter (3.11 or newer)
# make test ARGS="-k order"  pass arguments to pytest
# make test SEED=7           use another seed for the property tests
# make test ARGS=--hypothesis-profile=thorough   try ten times as many examples in them

PYTHON ?= python3
SEED ?= 20261123
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input -qq
PYTEST = $(BIN)/python -m pytest -n auto --dist worksteal --hypothesis-seed=$(SEED)
CODE := $(wildcard daemon migrations tests bench)
COMPILE := $(BIN)/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras --no-header --no-annotate \
	--no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-emit-options

# Without its cache, Python compiles every test and every daemon that a test starts anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help screenshots man install setup demo test other check endurance bench format lint lock

help:  ## list the targets (the default)
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(VENV)/.run  ## create the virtual environment .venv with what pagerelay needs to run

setup: $(VENV)/.dev  ## create or complete .venv with what developing takes, too

demo: $(VENV)/.run  ## run a simulated PagerDuty, the daemon and a receiver: no account needed
	@$(BIN)/pagerelay demo $(ARGS)

test: $(VENV)/.dev  ## run every test, each on SQLite or PostgreSQL (ARGS="-k order" selects, SEED=7 reseeds)
	@echo "seed of the property tests and of the databases: $(SEED) (choose another: make test SEED=…)"
	@$(PYTEST) --databases one $(ARGS)

other: $(VENV)/.dev  ## run the tests with a database again, on the other database
	@$(PYTEST) --databases other $(ARGS)

check: lint test other  ## run lint, then every test on both databases: what CI runs

lint: $(VENV)/.dev  ## check format, lint rules, types, imports and dead code
	@$(BIN)/ruff format --check --quiet --output-format concise . || { echo 'Not formatted. Run: make format'; exit 1; }
	@$(BIN)/ruff check --quiet --output-format concise .
	@$(BIN)/mypy --no-error-summary $(CODE)
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/vulture $(CODE)
	@echo 'format, lint, types, imports and dead code: no problems'

man: $(VENV)/.run  ## write the manual page man/pagerelay.1, and man/completions, for packages
	@mkdir -p man/completions
	@$(BIN)/python -m tests.documents.man_page > man/pagerelay.1
	@for shell in bash zsh fish; do \
		_PAGERELAY_COMPLETE=source_$$shell $(BIN)/pagerelay > man/completions/pagerelay.$$shell || exit 1; \
		sed -i '/./,$$!d' man/completions/pagerelay.$$shell || exit 1; \
	done  # zsh reads #compdef on the first line only
	@echo '_pagerelay_completion "$$@"' >> man/completions/pagerelay.zsh  # zsh loads the file at the first TAB

screenshots: $(VENV)/.dev  ## take the pictures of the page in docs/screenshots anew (needs Chromium)
	@$(BIN)/python -m tests.page.screenshots docs/screenshots

endurance: $(VENV)/.dev  ## run the long scenarios: faults, kill -9, downtime, idling (an hour; ARGS="crash" for one)
	@$(BIN)/python -m tests.endurance $(ARGS)

bench: $(VENV)/.bench  ## measure delivery speed, as a ratio to a bare aiohttp loop and to task queues
	@$(BIN)/python -m bench $(ARGS)

format: $(VENV)/.dev  ## format the code and apply safe lint fixes
	@$(BIN)/ruff check --fix --quiet . || true
	@$(BIN)/ruff format .

lock: $(VENV)/.dev  ## pin the newest versions that pyproject.toml allows in requirements/
	@rm -f requirements/*.txt
	@$(COMPILE) --output-file requirements/run.txt pyproject.toml
	@$(BIN)/python -c 'import tomllib; \
		print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["otel"], sep="\n")' \
	| $(COMPILE) --constraint requirements/run.txt --output-file requirements/otel.txt -
	@for group in build dev bench; do \
		$(BIN)/python -c 'import sys, tomllib; groups = tomllib.load(open("pyproject.toml", "rb")); \
			print(*groups["dependency-groups"][sys.argv[1]], sep="\n")' $$group \
		| $(COMPILE) $$(printf -- '--constraint %s ' requirements/*.txt) --output-file requirements/$$group.txt - \
		|| exit 1; \
	done

$(VENV)/.created:
	@$(PYTHON) -c '' || { echo '$(PYTHON) not found. Install Python 3.11 or newer, or name it: make PYTHON=/path/to/python3'; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "pagerelay needs Python 3.11 or newer, and $(PYTHON) is $$($(PYTHON) --version 2>&1)." \
			'Name a newer one: make PYTHON=python3.12'; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo '$(PYTHON) cannot create virtual environments. On Debian and Ubuntu: apt install python3-venv'; exit 1; }
	@echo 'setting up $(VENV), which takes about a minute …'
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.run: $(VENV)/.created requirements/build.txt requirements/run.txt pyproject.toml
	@$(PIP) install --require-hashes -r requirements/build.txt -r requirements/run.txt
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.run requirements/dev.txt
	@echo 'installing the development packages …'
	@$(PIP) install --require-hashes -r requirements/dev.txt
	@touch $@

$(VENV)/.bench: $(VENV)/.dev requirements/bench.txt
	@echo 'installing what the benchmark compares with …'
	@$(PIP) install --require-hashes -r requirements/bench.txt
	@touch $@
