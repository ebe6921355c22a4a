# ParetoPipe: `make demo` to see it work, `make test` to trust it, `make help` for the rest.
# Each sets up everything it needs by itself: .venv and, for the virtual testbed, Debian packages.

PYTHON ?= $(shell scripts/python)
# Another Python beside the first: make test PYTHON=python3.13 VENV=.venv-3.13
VENV := .venv
BIN := $(VENV)/bin
# Where the demo runs: testbed, processes, or what this machine can do.
DEMO ?=
# Progress lines appear as they come, in a pipe too.
export PYTHONUNBUFFERED := 1
# Neither the folder make is called in, nor one that anybody may write to, nor the caller's own
# Ansible or Python decides what is found.
$(foreach name,$(filter ANSIBLE_% PYTHON%,$(filter-out PYTHON PYTHONUNBUFFERED,$(.VARIABLES))),\
	$(eval unexport $(name)))
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg
# Phases and messages, and the rest in a log; CONSOLE=default shows what Ansible shows.
ifdef CONSOLE
export ANSIBLE_STDOUT_CALLBACK := $(CONSOLE)
endif
# Nor is anything left in the caller's home.
export ANSIBLE_HOME := $(CURDIR)/.ansible
export MPLCONFIGDIR := $(CURDIR)/.cache/matplotlib
export PIP_CACHE_DIR ?= $(CURDIR)/.cache/pip
# Ubuntu's is no package of apt's: the tests of pages in a browser are skipped there.
BROWSER_PACKAGES := $(if $(shell grep -s '^ID=debian$$' /etc/os-release),chromium)
ARM_PACKAGES := qemu-user-static
# The environment of the demo's processes, which inventory/processes uses where it finds it made.
PROCESSES := .processes/venv
ON_PROCESSES := $(BIN)/ansible-playbook -i inventory/processes
TESTBED := PYTHONPATH=roles/testbed/files $(PYTHON) -m virtual_testbed
# What is installed by several at once says what it is doing, and the rest only where it fails.
PIP := pip install --quiet --disable-pip-version-check
# What makes the locks.
UV := uv==0.13.9
TOGETHER := $(MAKE) --no-print-directory --jobs=3
# Tests run side by side, and beside them the virtual testbed's, whose hosts are its own.
BESIDE := $(BIN)/pytest -m "not testbed" --numprocesses=4
# Whole sweeps, kills and waits for deadlines: most of the clock, and not of every change's concern.
SLOW := processes kills benchmarks relay finetune/test_resume.py \
	$(patsubst %,runtime/test_%.py,finetuned rpc soak throttling tls) \
	$(patsubst %,wire/test_%.py,admission faults from_another_host live_faults) \
	$(patsubst %,playbooks/test_%.py,first_report netem_role)
SUITE := $(MAKE) --no-print-directory --jobs=2 --keep-going test-here test-on-testbed
# What bandit reads: all Python that is not a test.
SHIPPED := paretopipe_runtime reports roles

.DEFAULT_GOAL := help
.PHONY: help demo demo-testbed demo-processes bench picture test test-here test-on-testbed quick check-all soak \
	arm gpu locks lint check setup setup-testbed setup-processes setup-test setup-dev up down clean python packages image test-packages

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

demo: python ## the whole job on two Pis and a server, all virtual: MobileNetV2, every split, one report
	@where=$$($(PYTHON) scripts/where $(DEMO)) && $(MAKE) --no-print-directory demo-$$where

demo-testbed: setup-testbed
	$(BIN)/ansible-playbook playbooks/full_sweep.yml -e experiment=demo
	@echo "The report: $(CURDIR)/reports/html/demo/index.html"
	@echo "The virtual hosts stay up for your own sweeps; \`make down\` takes them away."

# What is left afterwards, however it ends, is results and, in .processes, their environment.
demo-processes: setup-processes
	@$(ON_PROCESSES) playbooks/full_sweep.yml -e experiment=demo; status=$$?; \
		$(ON_PROCESSES) playbooks/deprovision.yml -e processes_state=stopped && exit $$status
	@echo "The report: $(CURDIR)/reports/html/demo/index.html"

bench: setup-testbed ## the data plane beside its limit, RPC and the paper's method: half an hour
	$(BIN)/ansible-playbook playbooks/bench.yml
	@echo "The results: $(CURDIR)/docs/benchmarks/results.md"

picture: ## docs/report.png anew: the first screen of the last demo's report
	chromium --headless --no-sandbox --disable-gpu --hide-scrollbars --window-size=1400,900 \
		--screenshot=docs/report.png file://$(CURDIR)/reports/html/demo/mobilenetv2.html

test: setup-test ## the suite; the virtual testbed's tests where this machine can have one
	@+$(SUITE)

test-here:
	@$(BESIDE)

# Their output comes at once, at the end.
test-on-testbed:
	@mkdir -p .cache; $(PYTHON) scripts/where installed >/dev/null; case $$? in \
	0) $(BIN)/pytest -m testbed >.cache/test-on-testbed.log 2>&1; status=$$?; \
		cat .cache/test-on-testbed.log; exit $$status;; \
	3) echo "Left out for that reason: the tests on the virtual testbed.";; \
	*) exit 1;; esac

quick: setup-dev ## the tests without a testbed, whole sweeps, kills and waits: some minutes
	$(BESIDE) $(SLOW:%=--ignore=tests/%)

check-all: export THOROUGH := 1
check-all: setup-test ## the suite in large numbers, with what is too slow or destructive for it
	@+$(SUITE)

soak: setup-test ## the campaigns, slower still; findings go to docs/campaigns
	$(BIN)/pytest tests/campaigns -s

arm: setup-test ## a Pi 4's processor, emulated: which PyTorch works there, and a split on to this machine
	@scripts/packages $(ARM_PACKAGES)
	@$(BIN)/python -m tests.campaigns.emulated_pi
	$(BIN)/pytest tests/campaigns/test_arm.py -s

gpu: setup-dev ## an NVIDIA GPU here: each model's answer and the paper's splits on it, minutes
	@nvidia-smi --list-gpus || { echo "nvidia-smi finds no GPU: install NVIDIA's driver first." >&2; exit 1; }
	$(BIN)/$(PIP) -r requirements/cuda.txt
	$(BIN)/pytest -rP tests/runtime/test_on_a_gpu.py
	$(BIN)/pytest tests/campaigns/test_gpu.py -s

locks: $(VENV)/.controller ## requirements/locks anew, from the package index
	@[ -x .cache/uv/bin/uv ] || { $(PYTHON) -m venv .cache/uv && .cache/uv/bin/$(PIP) $(UV); }
	@PATH="$(CURDIR)/.cache/uv/bin:$$PATH" $(BIN)/python scripts/locks --cpu-index "$(CPU_INDEX)"

lint: setup-dev ## ruff, mypy, bandit, yamllint, ansible-lint
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/bandit --quiet --recursive --configfile pyproject.toml $(SHIPPED)
	$(BIN)/yamllint --strict .
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/ansible-lint --offline

check: lint test ## what a change must pass: lint and test

setup: $(VENV)/.controller ## .venv with what playbooks and report need: all that your own lab asks for
	@command -v ssh >/dev/null || scripts/packages openssh-client

setup-testbed: python
	@$(PYTHON) scripts/where testbed >/dev/null
	@+$(TOGETHER) packages image $(VENV)/.controller

setup-processes: python
	@+$(TOGETHER) $(VENV)/.controller $(PROCESSES)/.runtime

setup-dev: $(VENV)/.dev

# As root on Debian everything is installed, else what is there is tested.
setup-test: python
	@+$(TOGETHER) test-packages $(VENV)/.dev \
		$(if $(shell $(PYTHON) scripts/where testbed 2>/dev/null),image)

test-packages:
	@[ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null || \
		scripts/packages $$($(TESTBED) packages $(CURDIR)) $(BROWSER_PACKAGES)

packages:
	@scripts/packages $$($(TESTBED) packages $(CURDIR))

image:
	@scripts/python check /usr/bin/python3
	@$(TESTBED) prebuild $(CURDIR)

up: setup-testbed ## start the virtual testbed
	$(BIN)/ansible-playbook playbooks/testbed.yml

down: $(VENV)/.controller ## take the virtual testbed, or the demo's processes, away
	@[ ! -d .processes ] || $(ON_PROCESSES) playbooks/deprovision.yml
	@[ ! -d .testbed ] || $(BIN)/ansible-playbook playbooks/testbed.yml -e testbed_state=absent

clean: ## remove .venv, caches, the testbed's image and the processes' environment (results stay)
	rm -rf $(VENV) .cache .ansible .testbed .processes .mypy_cache .pytest_cache .ruff_cache .hypothesis build *.egg-info

python:
	@scripts/python check $(PYTHON)

$(VENV)/bin/python: | python
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(VENV)/.controller: requirements/controller.txt | $(VENV)/bin/python
	@echo "Installing Ansible and what the report needs into $(VENV)"
	@$(BIN)/$(PIP) -r $<
	@touch $@
	@echo "$(VENV): installed."

$(VENV)/.dev: requirements/dev.txt requirements/runtime.txt requirements/nodeps.txt $(VENV)/.controller
	@echo "Installing PyTorch and the tools for tests into $(VENV)"
	@$(BIN)/$(PIP) -r $<
	@$(BIN)/$(PIP) --no-deps -r requirements/nodeps.txt
	@touch $@
	@echo "$(VENV): complete."

$(PROCESSES)/.runtime: requirements/runtime.txt | python
	@echo "Installing PyTorch into $(PROCESSES)"
	@mkdir -p .processes && chmod 700 .processes
	@$(PYTHON) -m venv --clear $(PROCESSES)
	@$(PROCESSES)/bin/$(PIP) -r $<
	@touch $@
	@echo "$(PROCESSES): installed."
