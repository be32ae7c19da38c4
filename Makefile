# `make` lists what can be made. The first target that needs .venv makes it (scripts/bootstrap says what it does).
SHELL := /bin/sh
PY := .venv/bin/python
# A sourced ROS installation keeps its own prefixes; with the ROS wheels the prefix is the virtual environment.
export AMENT_PREFIX_PATH := $(abspath .venv)$(if $(AMENT_PREFIX_PATH),:$(AMENT_PREFIX_PATH))
PYTEST_ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup demo test frameworks lint format params types bench build clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## install what is missing: system libraries, .venv, tf2_msgs, compiled kernels
	@scripts/bootstrap

demo: ## track three objects through the shipped bag with the ROS 2 node; writes out/demo/report.html
	@scripts/bootstrap --need-ros
	@$(PY) -m dr_perception.cli demo --out out/demo

test: setup ## install what is missing and run the tests, on two cores
	$(PY) -m pytest -q -n 2 --dist loadfile $(PYTEST_ARGS)

frameworks: setup ## test the bridges to PyTorch and JAX, in .venv-frameworks with their builds for a CPU
	@scripts/test_frameworks $(PYTEST_ARGS)

lint: setup ## ruff: rules and formatting
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

format: setup ## let ruff format the code
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

params: setup ## write config/tracker.yaml from the configuration tree
	$(PY) scripts/write_parameter_file.py

types: setup ## mypy
	$(PY) -m mypy

bench: setup ## run all benchmarks, half an hour and more; figures go to out/
	@sh benchmarks/run_all.sh

build: setup ## colcon build into build/, install/, log/ (colcon comes with a ROS installation or from pip)
	@command -v colcon >/dev/null || $(PY) -m pip install -q colcon-common-extensions
	PATH="$(abspath .venv/bin):$$PATH" colcon build --packages-select dr_perception

clean: ## remove everything that was built or installed here
	rm -rf .venv .venv-frameworks build install log out .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
