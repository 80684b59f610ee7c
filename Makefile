# Two commands are enough: `make run` plays, `make test` proves. Both need Python 3.11+ and make.

.DEFAULT_GOAL := help
.PHONY: help run test check prove bench chaos abuse soak lock clean system audit
.DELETE_ON_ERROR:

PY := .venv/bin/python
PIP := $(PY) -m pip install --quiet --disable-pip-version-check
PIP_COMPILE := $(PY) -m piptools compile --quiet --upgrade --no-header --no-annotate \
	--strip-extras --no-emit-index-url --no-emit-find-links --no-emit-trusted-host
CODE := engine actors serve_app migrations simulation
UP := $(if $(LAN),--lan) $(if $(PORT),--port $(PORT)) $(if $(DATA),--data $(DATA))

help: ## list the commands
	@echo "make run    start Rayquiz here, with a sample quiz; Ctrl-C ends it"
	@echo "            LAN=1 lets phones in, PORT=8080 and DATA=folder choose others"
	@echo "make test   everything that must hold: checks, then the tests with real servers"
	@echo "make check  the fast part: format, lint, types, imports, tests without servers"
	@echo "make prove  the long proofs, on fresh seeds; SEED=n repeats a run, ONLY=name a part of it"
	@echo "make bench  figures of this machine, each beside a bare reference"
	@echo "make chaos  kill and pause every part in the middle of a burst, and count what was lost"
	@echo "make abuse  attack from many sides, beside a quiz of 100 honest people"
	@echo "make soak   half the maximum for half an hour: what grows, and what complains"
	@echo "make audit  whether a pinned package has a known vulnerability; asks a service outside"
	@echo "make lock   choose the newest versions of all packages and pin them"
	@echo "make clean  remove what was built; the data folder stays"

run: .venv/runtime.stamp
	@exec .venv/bin/rayquiz up $(UP)

test: .venv/dev.stamp system check
	$(PY) -m pytest -m "service or browser or simulation" -n auto --dist loadgroup \
		--durations 40

check: .venv/dev.stamp
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy
	.venv/bin/lint-imports
	$(PY) -m bandit --quiet --recursive --configfile pyproject.toml $(CODE)
	$(PY) -m pytest -m "not service and not browser and not simulation" -n auto

prove: .venv/dev.stamp system
	$(PY) -m tests.prove $(if $(SEED),--seed $(SEED)) $(if $(ONLY),--only $(ONLY))

bench: .venv/runtime.stamp system
	$(PY) -m tests.benchmarks

chaos: .venv/dev.stamp system
	$(PY) -m tests.chaos
	$(PY) -m tests.chaos --network
	$(PY) -m tests.chaos --nodes
	$(PY) -m tests.chaos --head

abuse: .venv/dev.stamp system
	$(PY) -m tests.abuse

soak: .venv/dev.stamp system
	$(PY) -m tests.soak

# In an environment of its own: what it needs is no part of ours.
audit: .venv/dev.stamp
	@$(PY) -m venv .venv/audit
	@.venv/audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit
	.ci/audit .venv/audit/bin/pip-audit requirements.lock requirements-dev.lock

lock: .venv/dev.stamp
	$(PIP_COMPILE) --output-file requirements.lock pyproject.toml
	$(PIP_COMPILE) --extra dev --allow-unsafe --constraint requirements.lock \
		--output-file requirements-dev.lock pyproject.toml

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	rm -rf build ./*.egg-info

# -- the virtual environment: made once, installed anew when a lock file changes

define MAKE_VENV
for python in python3 python3.13 python3.12 python3.11; do \
	if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
		found=$$python; break; \
	fi; \
done; \
if [ -z "$$found" ]; then \
	echo "Rayquiz needs Python 3.11 or newer, and none was found. Install it" >&2; \
	echo "(Debian, Ubuntu: apt install python3 python3-venv) and try again." >&2; \
	exit 1; \
fi; \
if ! $$found -c 'import ensurepip, venv' 2>/dev/null; then \
	echo "$$found cannot make virtual environments: its venv module is missing." >&2; \
	echo "Install it (Debian, Ubuntu: apt install python3-venv) and try again." >&2; \
	exit 1; \
fi; \
echo "Making a virtual environment with $$($$found --version) ..."; \
$$found -m venv --clear .venv
endef

define EXPLAIN_PIP
{ echo "A package could not be installed; pip says why above. It needs the network, about" >&2; \
  echo "1 GB of disk, and Linux with glibc on x86-64 or ARM64. Then run make again." >&2; exit 1; }
endef

# A venv whose Python has gone (an upgrade of the system) is made anew, too.
.venv/runtime.stamp: requirements.lock pyproject.toml
	@$(PY) -c '' 2>/dev/null || { $(MAKE_VENV); }
	@echo "Installing packages (about a minute the first time) ..."
	@$(PIP) --no-deps --requirement requirements.lock || $(EXPLAIN_PIP)
	@$(PIP) --no-deps --editable . || $(EXPLAIN_PIP)
	@touch $@

.venv/dev.stamp: .venv/runtime.stamp requirements-dev.lock
	@echo "Installing the packages for development ..."
	@$(PIP) --no-deps --requirement requirements-dev.lock || $(EXPLAIN_PIP)
	@touch $@

# -- what the tests need from the system: a browser and a broker, installed only when missing

CHROMIUM := $(shell command -v chromium-headless-shell || command -v chromium || \
	command -v chromium-browser || command -v google-chrome)
RABBITMQ := $(wildcard /usr/lib/rabbitmq/bin/rabbitmq-server)
MISSING := $(if $(CHROMIUM),,chromium-headless-shell) $(if $(RABBITMQ),,rabbitmq-server)

# policy-rc.d keeps the packages from starting their services: tests start private ones.
define INSTALL_SYSTEM
if ! command -v apt-get >/dev/null; then \
	echo "The tests need$(1); install them with this system's package manager." >&2; exit 1; \
fi; \
sudo=; [ "$$(id -u)" = 0 ] || sudo=sudo; \
policy=/usr/sbin/policy-rc.d; \
if [ ! -e $$policy ]; then \
	trap "$$sudo rm -f $$policy" EXIT; \
	printf '#!/bin/sh\nexit 101\n' | $$sudo tee $$policy >/dev/null; \
	$$sudo chmod +x $$policy; \
fi; \
$$sudo apt-get update -qq && \
$$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends $(1); \
status=$$?; \
if [ -d /run/systemd/system ]; then $$sudo systemctl disable --quiet rabbitmq-server; fi; \
exit $$status
endef

system:
	@$(if $(strip $(MISSING)),$(call INSTALL_SYSTEM,$(MISSING)),:)
