# One line a target; the logic is in Python: `python build.py --help`.
PYTHON ?= $(shell for p in python3.12 python3.11 python3.13 python3; do $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo $$p && break; done)
BUILD = .venv/bin/python build.py
KAGGLE = $(if $(JOB),--job "$(JOB)") $(if $(OWNER),--owner "$(OWNER)") $(if $(DATASET),--dataset "$(DATASET)") $(if $(KERNEL),--kernel "$(KERNEL)")

.DEFAULT_GOAL := help
.PHONY: help setup train evaluate rehearse simulate eda show cache bundle push status submit output doctor bench test check format clean

help:  ## list the targets
	@grep -hE '^[a-z]+:.*##' Makefile | sed -E 's/:[^#]*## */\t/' | awk -F'\t' '{printf "  make %-10s %s\n", $$1, $$2}'

setup: .venv/installed  ## create .venv with the versions of Kaggle's image

.venv/installed: requirements.txt requirements-dev.txt
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11, 3.12 or 3.13 found: install one, or name it with PYTHON=..."; exit 1; }
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

rehearse: setup  ## run the kernel on a hidden test with the network cut  [INPUT=DIR OUT=DIR JOB=NAME]
	$(BUILD) rehearse $(if $(JOB),--job "$(JOB)") $(if $(INPUT),--input "$(INPUT)") $(if $(OUT),--out "$(OUT)")

simulate: setup  ## write a simulated data set in the competition's layout  [OUT=DIR RECORDINGS=N SEED=S]
	$(BUILD) simulate $(if $(OUT),--out "$(OUT)") $(if $(RECORDINGS),--recordings "$(RECORDINGS)") $(if $(SEED),--seed "$(SEED)")

eda: setup  ## write the report on a training set  DATA=DIR [OUT=report.html SAMPLE=N]
	$(BUILD) eda --data "$(DATA)" $(if $(OUT),--out "$(OUT)") $(if $(SAMPLE),--sample "$(SAMPLE)")

show: setup  ## draw one recording  EEG_ID=N DATA=DIR [OUT=picture.png]
	$(BUILD) show $(EEG_ID) --data "$(DATA)" $(if $(OUT),--out "$(OUT)")

cache: setup  ## store the inputs of every labelled window for training  DATA=DIR [OUT=DIR MODEL=name SCHEDULER=tcp://...]
	$(BUILD) cache --data "$(DATA)" $(if $(OUT),--out "$(OUT)") $(if $(MODEL),--model "$(MODEL)") $(if $(SCHEDULER),--scheduler "$(SCHEDULER)")

train: setup  ## train a model's folds, or go on with them  [MODEL=NAME DATA=DIR FOLD=K OUT=DIR]
	$(BUILD) train --model $(or $(MODEL),raw_1d) --data $(or $(DATA),dist/simulated) $(if $(FOLD),--fold "$(FOLD)") $(if $(OUT),--out "$(OUT)")

evaluate: setup  ## score a model on recordings with votes  [MODEL=NAME DATA=DIR MIN_VOTES=N WEIGHTS=DIR]
	$(BUILD) evaluate --model $(or $(MODEL),raw_1d) --data $(or $(DATA),dist/simulated) $(if $(MIN_VOTES),--min-votes "$(MIN_VOTES)") $(if $(WEIGHTS),--weights "$(WEIGHTS)")

bundle: setup  ## pack code, weights and wheels into dist/dataset
	$(BUILD) bundle

push: setup  ## rehearse, publish the bundle, push the kernel  [JOB=NAME SUBMIT=1 FORCE=1 OWNER=NAME]
	$(BUILD) push $(KAGGLE) $(if $(SUBMIT),--submit) $(if $(FORCE),--force)

status: setup  ## show data set, run and submission  [JOB=NAME WATCH=1|0]
	$(BUILD) status $(KAGGLE) $(if $(WATCH),$(if $(filter 0,$(WATCH)),--no-watch,--watch))

submit: setup  ## submit the pushed kernel version  [FORCE=1]
	$(BUILD) submit $(KAGGLE) $(if $(FORCE),--force)

output: setup  ## bring the run's outputs into dist/output, checked  [JOB=NAME]
	$(BUILD) output $(KAGGLE)

doctor: setup  ## check credentials, names, bundle before a push  [JOB=NAME]
	$(BUILD) doctor $(KAGGLE)

bench: setup .venv/benchmarks  ## measure against the alternatives, as ratios  [NAMES="scalogram inference"]
	$(BUILD) bench $(NAMES)

.venv/benchmarks: benchmarks/requirements.txt
	-@grep -v '^#' $< | while read -r line; do .venv/bin/python -m pip install --quiet --disable-pip-version-check "$$line" || echo "left out: $$line"; done
	@touch $@

test: setup  ## run every test
	.venv/bin/python -m pytest

check: setup  ## format, lint, types, tests
	.venv/bin/ruff format --check . && .venv/bin/ruff check . && .venv/bin/mypy && .venv/bin/python -m pytest

format: setup  ## format the code and fix what ruff can fix
	.venv/bin/ruff format . && .venv/bin/ruff check --fix .

clean:  ## remove what was built; keeps .venv
	rm -rf dist .pytest_cache .mypy_cache .ruff_cache
