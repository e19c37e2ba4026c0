# Needs GNU Make 3.81 or newer and a POSIX shell. Commands see variables from the environment and from the command line
# (`make run PORT=9000`).

.DEFAULT_GOAL := help
.PHONY: help run test proof check coverage bench soak troubles clients picture screenshots lock clean
.NOTPARALLEL:

python := .venv/bin/python
ready_to_run := .venv/ready-to-run
ready_to_develop := .venv/ready-to-develop

help: ## Show this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/\1|\2/p' Makefile | \
	while IFS='|' read -r name line; do printf '  make %-11s %s\n' "$$name" "$$line"; done

run: $(ready_to_run) ## Start everything on this machine: engines, API, workers (PORT, DATA_DIR, WORKERS, WEB_CONCURRENCY)
	@exec $(python) -m operations.local.run --end-with-parent

test: $(ready_to_develop) ## Run all tests (ARGS='-k name' for a part of them)
	$(python) -m pytest $(ARGS)

proof: $(ready_to_develop) ## Run the tests that take too long for each change
	$(python) -m pytest -m heavy --numprocesses=1 $(ARGS)

check: $(ready_to_develop) ## Check style, format and types
	$(python) -m ruff check .
	$(python) -m ruff format --check .
	$(python) -m mypy

coverage: $(ready_to_develop) ## Measure which lines unit and integration tests run; fails below the floor in pyproject.toml
	$(python) -m pytest tests/unit tests/integration --cov

bench: $(ready_to_develop) ## Compare with other stacks, into benchmarks/results.md (ONLY='accept drain', QUICK=1)
	$(python) -m benchmarks $(ONLY)

soak: $(ready_to_develop) ## Submit, inject faults and check every 202 (MINUTES=20, SEED; REDIS=sentinel or cluster, POSTGRES=pair)
	@$(python) -W error -m tests.soak $(MINUTES:%=--minutes %) $(SEED:%=--seed %) $(REDIS:%=--redis %) $(POSTGRES:%=--postgres %)

troubles: $(ready_to_develop) ## Make twelve troubles on a running installation, and check that each is told (CONNECTORS, 200 by default)
	@$(python) -m tests.soak.troubles $(CONNECTORS:%=--connectors %)

clients: $(ready_to_develop) ## Build the packages for authors of connectors into dist/clients: a wheel and an npm tarball
	@$(python) -m clients.build dist/clients

picture: $(ready_to_develop) ## Take the README's picture of the operators' page again (docs/overview.png)
	@$(python) -m tests.picture docs/overview.png

screenshots: $(ready_to_develop) ## Take pictures of all operators' pages, light, dark and narrow, into .data/screenshots
	@$(python) -m tests.screenshots .data/screenshots

lock: $(ready_to_develop) ## Pin the newest dependencies that pyproject.toml allows
	$(compile) --extra embedded --extra otel --output-file requirements.txt
	$(compile) --all-extras --constraint requirements.txt --output-file requirements-dev.txt

clean: ## Remove .venv, caches and builds; .data stays
	rm -rf .venv build dist *.egg-info clients/python/build clients/python/src/*.egg-info .coverage .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name .data -prune -o -type d -name __pycache__ -prune -exec rm -rf {} +

compile = $(python) -m uv pip compile pyproject.toml --group build --quiet --upgrade --universal --no-strip-extras \
	--python-version 3.11 --generate-hashes --custom-compile-command 'make lock'

# The stamp of an installation is outdated as soon as the pins or the project's metadata change.
$(ready_to_run): requirements.txt pyproject.toml $(python)
	@$(call install,requirements.txt)
	@touch $@

# The pins for development include those for running.
$(ready_to_develop): requirements-dev.txt requirements.txt pyproject.toml $(python)
	@$(call install,requirements-dev.txt)
	@touch $(ready_to_run) $@

# Shows large downloads and retries as they happen; the rest is in the log. A file records a failure, because the exit
# status of a pipe is that of its last command.
install = echo "Installing $$(grep -c == $(1)) pinned packages into .venv …"; rm -f .venv/failed; \
	{ { $(pip) --require-hashes --requirement $(1) && $(pip) --no-deps --no-build-isolation --editable .; } 2>&1 || \
	touch .venv/failed; } | tee .venv/install.log | while read -r verb name rest; do \
	case "$$verb $$name $$rest" in \
	"Downloading "*" MB)") echo "  $${name%%-*} $$rest" ;; \
	"WARNING: Retrying "*) echo "  $$name $$rest" ;; \
	esac; done; \
	if [ -e .venv/failed ]; then tail -n 15 .venv/install.log >&2; \
	echo "The installation failed; .venv/install.log has the details." >&2; exit 1; fi
pip = $(python) -m pip install --disable-pip-version-check --progress-bar off

$(python):
	@if [ -n "$$PYTHON" ]; then set -- "$$PYTHON"; else set -- python3 python3.14 python3.13 python3.12 python3.11; fi; \
	for found in "$$@"; do \
		"$$found" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break; found=; \
	done; \
	if [ -z "$$found" ]; then \
		echo "Python 3.11 or newer is needed; tried: $$*. Name one with PYTHON=/path/to/python3." >&2; exit 1; \
	fi; \
	echo "Creating .venv with $$("$$found" --version) …"; \
	"$$found" -m venv --clear .venv || { rm -rf .venv; echo "Python could not create .venv; its message is above." >&2; exit 1; }
