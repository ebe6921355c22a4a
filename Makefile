# ParetoPipe: `make demo` to see it work, `make test` to trust it, `make help` for the rest.
# Both set up everything they need by themselves: Debian packages (as root) and .venv.

PYTHON ?= python3
# Another Python beside the first: make test PYTHON=python3.13 VENV=.venv-3.13
VENV := .venv
BIN := $(VENV)/bin
# Progress lines appear as they come, in a pipe too.
export PYTHONUNBUFFERED := 1
CONTROLLER_PACKAGES := python3 python3-venv openssh-client
TESTBED_PACKAGES := openssh-server iproute2 ethtool iputils-ping iperf3 kmod nftables user-mode-linux \
	systemd systemd-sysv systemd-container dbus procps util-linux
BROWSER_PACKAGES := chromium
ARM_PACKAGES := qemu-user-static
# What bandit reads: all Python that is not a test.
SHIPPED := paretopipe_runtime reports plugins roles benchmarks

.DEFAULT_GOAL := help
.PHONY: help demo bench test quick soak arm lint check setup setup-testbed setup-dev up down clean root

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

demo: root setup-testbed ## the whole job on three virtual hosts: MobileNetV2, every split, one report
	$(BIN)/ansible-playbook playbooks/full_sweep.yml -e experiment=demo
	@echo "The report: $(CURDIR)/reports/html/demo/index.html"
	@echo "The virtual hosts stay up for your own sweeps; \`make down\` takes them away."

bench: root setup-testbed ## the data plane beside its limit, RPC and the paper's method: half an hour
	$(BIN)/ansible-playbook playbooks/bench.yml
	@echo "The results: $(CURDIR)/docs/benchmarks/results.md"

test: root setup-dev ## every test, those on the virtual testbed included
	$(BIN)/pytest

quick: setup-dev ## the tests that need no testbed
	$(BIN)/pytest -m "not testbed"

soak: setup-dev ## the campaigns that are too slow for the suite; findings go to docs/campaigns
	$(BIN)/pytest campaigns -s

arm: setup-dev ## a Pi 4's processor, emulated: which PyTorch works there, and a split on to this machine
	@scripts/packages $(ARM_PACKAGES)
	@$(BIN)/python -m campaigns.emulated_pi
	$(BIN)/pytest campaigns/test_arm.py -s

lint: setup-dev ## ruff, mypy, bandit, yamllint, ansible-lint
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/bandit --quiet --recursive --configfile pyproject.toml $(SHIPPED)
	$(BIN)/yamllint --strict .
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/ansible-lint --offline

check: lint test ## what a change must pass: lint and test

setup: $(VENV)/.controller ## .venv with what playbooks and report need

setup-testbed: setup
	@scripts/packages $(TESTBED_PACKAGES)

setup-dev: setup-testbed $(VENV)/.dev
	@scripts/packages $(BROWSER_PACKAGES)

up: root setup-testbed ## start the virtual testbed
	$(BIN)/ansible-playbook playbooks/testbed.yml

down: root setup ## take the virtual testbed away
	$(BIN)/ansible-playbook playbooks/testbed.yml -e testbed_state=absent

clean: ## remove .venv, caches and the testbed's image (results stay)
	rm -rf $(VENV) .cache .testbed .mypy_cache .pytest_cache .ruff_cache .hypothesis build *.egg-info

root:
	@[ "$$(id -u)" = 0 ] || { echo "The virtual testbed needs root: sudo make $(MAKECMDGOALS)" >&2; exit 1; }

$(VENV)/bin/python:
	@scripts/packages $(CONTROLLER_PACKAGES)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is older than 3.11: name a newer one with PYTHON=python3.x" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.controller: requirements/controller.txt | $(VENV)/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check -r $<
	@touch $@

$(VENV)/.dev: requirements/dev.txt requirements/runtime.txt $(VENV)/.controller
	$(BIN)/pip install --quiet --disable-pip-version-check -r $<
	@touch $@
