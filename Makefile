# The front door. Every target sets up what it needs; Python 3.11+ and make are enough.
PYTHON ?= python3
SCENARIO ?= accept
EDITION ?= cloud
MINUTES ?= 10
VENV := .venv
# Where people talk on phones, in real time: not beside the tests that install packages or recognise speech. Each file is one
# process's. Three of them keep two cores busy; those with the most calls are not all played at once.
CALLS := tests/transfer/relay tests/bench tests/end_to_end
# Of the transfer's own tests some measure time; those of what is redacted need nothing but a core.
TIMED := tests/transfer --ignore=tests/transfer/redaction
UNTIMED := $(CALLS:%=--ignore=%) --ignore-glob='tests/transfer/test_*.py'
RUN := $(VENV)/bin/python
export PYTHONUNBUFFERED = 1

.PHONY: help demo scenarios lab bench soak faults test lint format lock clean setup

help:
	@echo "make demo [SCENARIO=accept] [EDITION=oss]  play a call with a warm transfer, offline, and listen to it"
	@echo "make scenarios                the calls that can be played"
	@echo "make lab                      the offline phone lab, to point a worker at"
	@echo "make bench                    how long people wait: ours beside the stock task; what the relay costs"
	@echo "make soak [MINUTES=10]        one bridged call for long: nothing may grow"
	@echo "make faults                   what can go wrong, against ours and the stock task"
	@echo "make test                     all tests"
	@echo "make lint                     formatting, lint and types"

setup:
	@$(PYTHON) tools/bootstrap.py $(VENV) requirements-dev.txt

demo: setup
	@exec $(RUN) -m lab.play $(SCENARIO) --edition $(EDITION)

scenarios: setup
	@exec $(RUN) -m lab.play --list

lab: setup
	@exec $(RUN) -m lab

bench: setup
	@exec $(RUN) -m bench

soak: setup
	@exec $(RUN) -m bench.soak --minutes $(MINUTES)

faults: setup
	@exec $(RUN) -m bench.faults

test: setup
	@$(RUN) -m pytest -n 3 --dist loadfile --no-loadscope-reorder -m "not alone" $(UNTIMED)
	@$(RUN) -m pytest -n 3 --dist loadfile --no-loadscope-reorder -m "not alone" $(CALLS) $(TIMED)
	@exec $(RUN) -m pytest -n 2 -m alone

lint: setup
	@$(RUN) -m ruff format --check .
	@$(RUN) -m ruff check .
	@$(RUN) -m mypy

format: setup
	@$(RUN) -m ruff format .
	@$(RUN) -m ruff check --fix .

# Only for those who change dependencies; needs uv.
lock:
	@tools/lock.sh

clean:
	rm -rf $(VENV) build out .pytest_cache .mypy_cache .ruff_cache
