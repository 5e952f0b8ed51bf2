# The commands for a fresh clone. They need Python 3.11 or newer, and install into .venv.

HOST = 127.0.0.1
PORT ?= 8000
PYTHON = .venv/bin/python
INSTALL = $(PYTHON) -m pip install --quiet --disable-pip-version-check

# Writes the locks: one file for every supported Python and operating system, with hashes.
UV = uv==0.13.9
COMPILE = .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--custom-compile-command "make lock" $(LOCK)

# The newest Python that is new enough, starts, and can make a .venv.
PYTHONS ?= python3.14 python3.13 python3.12 python3.11 python3
USABLE = import sys, ensurepip; sys.exit(sys.version_info < (3, 11))

.DEFAULT_GOAL = help
.PHONY: help demo test test-postgresql fuzz check audit lock bench

help: ## this list
	@sed -n 's/^\([a-z-]*\):.* ## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 24

demo: .venv/installed ## set up the site and serve it; also PORT=8001, HOST=0.0.0.0
	@exec $(PYTHON) manage.py demo --host $(HOST) --port $(PORT)

# The workers of --parallel need the fork of Linux. There is one more than processors, since many
# tests wait for servers and browsers.
PARALLEL = $(if $(filter Linux,$(shell uname)),--parallel $(shell expr $$(nproc) + 1))

test: .venv/installed ## run the tests
	$(PYTHON) manage.py test $(PARALLEL) --exclude-tag processes

# Tests tagged any-database, such as those in a browser, do the same on every database. Workers
# can't have child processes of multiprocessing: the tests that do run last, without them.
test-postgresql: .venv/installed ## run the tests that depend on the database, on a PostgreSQL it starts
	$(PYTHON) -m cars.lab.servers $(PYTHON) manage.py test --noinput $(PARALLEL) --exclude-tag processes --exclude-tag any-database
	$(PYTHON) -m cars.lab.servers $(PYTHON) manage.py test --noinput --tag processes --exclude-tag any-database

FUZZ = FUZZ_REQUESTS=$(or $(FUZZ_REQUESTS),5000) $(PYTHON) manage.py test cars.tests.site.test_any_input

fuzz: .venv/installed ## send 5,000 random requests to the site with each role; also FUZZ_REQUESTS=100
	DJANGO_DEBUG=off DJANGO_SECRET_KEY=of-the-fuzz DJANGO_ALLOWED_HOSTS=testserver $(FUZZ)
	DJANGO_DEBUG=on $(FUZZ) --debug-mode

# mypy's plugin for Django loads the settings, which need a secret key unless debug is on.
check: .venv/installed-dev ## check style, types, settings and migrations
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	DJANGO_DEBUG=on .venv/bin/mypy
	$(PYTHON) manage.py check
	$(PYTHON) manage.py makemigrations --check --dry-run

audit: .venv/audit ## ask for known vulnerabilities of the locked packages
	$(PYTHON) .ci/audit .venv/audit/bin/pip-audit requirements.lock

lock: $(PYTHON) ## write the locks of the requirements; LOCK=--upgrade takes newer releases
	@$(INSTALL) $(UV)
	$(COMPILE) requirements.txt --output-file requirements.lock
	$(COMPILE) requirements-dev.txt --constraint requirements.lock --output-file requirements-dev.lock

bench: .venv/installed-bench ## compare with other caches, or BASE=REVISION; also BENCH=--quick
	$(PYTHON) -m benchmarks $(if $(BASE),--base $(BASE)) $(BENCH)

$(PYTHON):
	@for python in $(PYTHONS); do \
		if $$python -c '$(USABLE)' >/dev/null 2>&1; then \
			echo "Making .venv with $$($$python --version) ..."; \
			exec $$python -m venv .venv; \
		fi; \
	done; \
	echo "This needs Python 3.11 or newer, with its venv module (on Debian and Ubuntu: apt install python3-venv)." >&2; \
	exit 1

.venv/installed: requirements.lock $(PYTHON)
	@echo "Installing the packages of requirements.lock ..."
	@$(INSTALL) --require-hashes -r requirements.lock
	@touch $@

.venv/installed-dev: requirements-dev.lock .venv/installed
	@$(INSTALL) --require-hashes -r requirements-dev.lock
	@touch $@

# Apart, since its packages are none of the project's.
.venv/audit: $(PYTHON)
	$(PYTHON) -m venv $@
	$@/bin/python -m pip install --quiet --disable-pip-version-check pip-audit==2.10.1

.venv/installed-bench: benchmarks/requirements.txt .venv/installed
	@$(INSTALL) -r benchmarks/requirements.txt
	@touch $@
