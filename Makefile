# What to do with a fresh clone. Needs Python 3.11 or newer; everything goes into .venv.

HOST = 127.0.0.1
PORT ?= 8000
PYTHON = .venv/bin/python
INSTALL = $(PYTHON) -m pip install --quiet --disable-pip-version-check

# The newest Python that is new enough, really starts, and can make a .venv.
PYTHONS = python3.14 python3.13 python3.12 python3.11 python3
USABLE = import sys, ensurepip; sys.exit(sys.version_info < (3, 11))

.DEFAULT_GOAL = help
.PHONY: help demo test test-postgresql check bench

help: ## this list
	@sed -n 's/^\([a-z-]*\):.* ## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 24

demo: .venv/installed ## set the site up and serve it; also PORT=8001, HOST=0.0.0.0
	@exec $(PYTHON) manage.py demo --host $(HOST) --port $(PORT)

test: .venv/installed ## run the tests
	$(PYTHON) manage.py test

# A worker of --parallel can't start processes: the tests that do come last, by themselves.
test-postgresql: .venv/installed ## the same on a PostgreSQL that it starts, and what only runs there
	$(PYTHON) -m cars.lab.servers $(PYTHON) manage.py test --noinput --parallel --exclude-tag processes
	$(PYTHON) -m cars.lab.servers $(PYTHON) manage.py test --noinput --tag processes

check: .venv/installed-dev ## what CI checks besides the tests: style, settings, migrations
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	$(PYTHON) manage.py check
	$(PYTHON) manage.py makemigrations --check --dry-run

bench: .venv/installed-bench ## compare it with what else there is; also BENCH=--quick
	$(PYTHON) -m benchmarks $(BENCH)

$(PYTHON):
	@for python in $(PYTHONS); do \
		if $$python -c '$(USABLE)' >/dev/null 2>&1; then \
			echo "Making .venv with $$($$python --version) ..."; \
			exec $$python -m venv .venv; \
		fi; \
	done; \
	echo "This needs Python 3.11 or newer, with its venv module (on Debian and Ubuntu: apt install python3-venv)." >&2; \
	exit 1

.venv/installed: requirements.txt $(PYTHON)
	@echo "Installing what requirements.txt names ..."
	@$(INSTALL) -r requirements.txt
	@touch $@

.venv/installed-dev: requirements-dev.txt .venv/installed
	@$(INSTALL) -r requirements-dev.txt
	@touch $@

.venv/installed-bench: benchmarks/requirements.txt .venv/installed
	@$(INSTALL) -r benchmarks/requirements.txt
	@touch $@
