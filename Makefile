# One line a target; the logic is in Python: `python build.py --help`.
PYTHON ?= $(shell for p in python3.12 python3.11 python3.13 python3; do $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo $$p && break; done)
BUILD = .venv/bin/python build.py
PYTEST = .venv/bin/python -m pytest --numprocesses logical --maxprocesses 8 --dist loadfile --no-loadscope-reorder $(ARGS)
TRAINING = $(if $(MODEL),--model "$(MODEL)") $(if $(FOLDS),--fold "$(FOLDS)") $(if $(SET),--set $(foreach change,$(SET),'$(change)')) $(if $(HOURS),--hours "$(HOURS)") $(if $(DEVICE),--device "$(DEVICE)") $(if $(BACKBONE),--backbone "$(BACKBONE)") $(if $(SAMPLE),--sample "$(SAMPLE)")
KAGGLE = $(if $(JOB),--job "$(JOB)") $(if $(OWNER),--owner "$(OWNER)") $(if $(DATASET),--dataset "$(DATASET)") $(if $(KERNEL),--kernel "$(KERNEL)")
FOLDER = $(or $(DATA),$(error give DATA=DIR, the folder with train.csv: the competition's, or a simulated one))
RECORDING = $(or $(EEG_ID),$(error give EEG_ID=N, the number of a recording))

.DEFAULT_GOAL := help
.PHONY: $(shell sed -n 's/^\([a-z-]*\):.*##.*/\1/p' Makefile)

# A variable that no recipe of the wanted targets uses, itself or through one of the definitions above, is refused.
GOALS := $(or $(MAKECMDGOALS),help)
GIVEN := $(strip $(foreach v,$(.VARIABLES),$(if $(filter command,$(firstword $(origin $v))),$v)))
TAKEN = $(filter-out BUILD PYTEST KAGGLE TRAINING FOLDER RECORDING,$(sort PYTHON $(shell awk -v goals=' $(GOALS) ' \
	'/^[A-Z]+ = / {means[$$1] = $$0} /^[a-z.\/-]+:/ {on = index(goals, " " substr($$0, 1, index($$0, ":") - 1) " ")} \
	/^\t/ && on {text = text $$0} END {for (name in means) if (index(text, "$$(" name ")")) text = text means[name]; print text}' \
	Makefile | grep -oE '\$$\([A-Z_]+\)' | tr -d '$$()')))
ifneq ($(filter-out $(if $(GIVEN),$(TAKEN)),$(GIVEN)),)
$(error make $(GOALS) does not take $(filter-out $(TAKEN),$(GIVEN)); it takes $(or $(filter-out PYTHON,$(TAKEN)),no variable))
endif

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' Makefile | sed -E 's/:[^#]*## */\t/' | awk -F'\t' '{printf "  make %-10s %s\n", $$1, $$2}'

setup: .venv/installed  ## create .venv with the versions of Kaggle's image

.venv/installed: requirements.txt requirements-dev.txt
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11, 3.12 or 3.13 found: install one, or name it with PYTHON=..."; exit 1; }
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

rehearse: setup  ## run the kernel on a hidden test with the network cut  [JOB=NAME MODEL=NAME SET="..." INPUT=DIR OUT=DIR RECORDINGS=N SEED=S]
	$(BUILD) rehearse $(if $(JOB),--job "$(JOB)") $(if $(MODEL),--model "$(MODEL)") $(if $(SET),--set $(foreach change,$(SET),'$(change)')) $(if $(INPUT),--input "$(INPUT)") $(if $(OUT),--out "$(OUT)") $(if $(RECORDINGS),--recordings "$(RECORDINGS)") $(if $(SEED),--seed "$(SEED)")

simulate: setup  ## write a simulated data set in the competition's layout  [OUT=DIR RECORDINGS=N SEED=S WORKERS=N]
	$(BUILD) simulate $(if $(OUT),--out "$(OUT)") $(if $(RECORDINGS),--recordings "$(RECORDINGS)") $(if $(SEED),--seed "$(SEED)") $(if $(WORKERS),--workers "$(WORKERS)")

eda: setup  ## write the report on a training set  DATA=DIR [OUT=report.html SAMPLE=N]
	$(BUILD) eda --data "$(FOLDER)" $(if $(OUT),--out "$(OUT)") $(if $(SAMPLE),--sample "$(SAMPLE)")

show: setup  ## draw one recording  EEG_ID=N DATA=DIR [OFFSET=SECONDS WEIGHTS=DIR OUT=picture.png]
	$(BUILD) show $(RECORDING) --data "$(FOLDER)" $(if $(OFFSET),--offset "$(OFFSET)") $(if $(WEIGHTS),--weights "$(WEIGHTS)") $(if $(OUT),--out "$(OUT)")

cache: setup  ## read and prepare every labelled window once, for training  DATA=DIR [OUT=DIR JOBS=N SCHEDULER=tcp://...]
	$(BUILD) cache --data "$(FOLDER)" $(if $(JOBS),--jobs "$(JOBS)") $(if $(OUT),--out "$(OUT)") $(if $(SCHEDULER),--scheduler "$(SCHEDULER)")

train: setup  ## train a model's folds, or go on with them  DATA=DIR [MODEL=NAME FOLD=K OUT=DIR SET="recipe.batch_size=64 ..." CACHE=DIR BACKBONE=FILE.h5 START_FROM="FILE ..." MIX="DIR ..." MIX_SHARE=X]
	$(BUILD) train --model "$(or $(MODEL),raw_1d)" --data "$(FOLDER)" $(if $(FOLD),--fold "$(FOLD)") $(if $(OUT),--out "$(OUT)") $(foreach change,$(SET),--set '$(change)') $(if $(CACHE),--cache "$(CACHE)") $(if $(BACKBONE),--backbone "$(BACKBONE)") $(if $(START_FROM),--start-from $(START_FROM)) $(if $(MIX),--mix $(MIX)) $(if $(MIX_SHARE),--mix-share "$(MIX_SHARE)")

evaluate: setup  ## score a model on recordings with votes  DATA="DIR ..." [MODEL=NAME MIN_VOTES=N WEIGHTS=DIR HALVES=1]
	$(BUILD) evaluate --model "$(or $(MODEL),ensemble)" --data $(FOLDER) $(if $(MIN_VOTES),--min-votes "$(MIN_VOTES)") $(if $(WEIGHTS),--weights "$(WEIGHTS)") $(if $(HALVES),--halves)

ship: setup  ## put a trained model into weights/, verified and blended  [MODEL="NAME ..." REPLACE=1 YES=1 ON="DIR ..." MIN_VOTES=N KEEP="name=fold,fold ..."]
	$(BUILD) ship $(MODEL) $(if $(REPLACE),--replace) $(if $(YES),--yes) $(if $(ON),--on $(ON)) $(if $(MIN_VOTES),--min-votes "$(MIN_VOTES)") $(foreach one,$(KEEP),--keep $(one))

bundle: setup  ## pack code, weights and wheels into dist/dataset  [OUT=DIR OWNER=NAME]
	$(BUILD) bundle $(if $(OUT),--out "$(OUT)") $(if $(OWNER),--owner "$(OWNER)")

push: setup  ## rehearse, publish the bundle, push the kernel  [JOB=NAME MODEL=NAME FOLDS=0,1 SET="recipe.batch_size=64 ..." HOURS=N DEVICE=cpu BACKBONE=none SAMPLE=N SUBMIT=1 FORCE=1 OWNER=NAME INPUT=DIR]
	$(BUILD) push $(KAGGLE) $(TRAINING) $(if $(INPUT),--input "$(INPUT)") $(if $(SUBMIT),--submit) $(if $(FORCE),--force)

status: setup  ## show data set, run and submission  [JOB=NAME WATCH=1|0]
	$(BUILD) status $(KAGGLE) $(if $(WATCH),$(if $(filter 0,$(WATCH)),--no-watch,--watch))

submit: setup  ## submit the pushed kernel version  [FORCE=1]
	$(BUILD) submit $(KAGGLE) $(if $(FORCE),--force)

output: setup  ## bring the run's outputs into dist/output, checked  [JOB=NAME]
	$(BUILD) output $(KAGGLE)

pull-weights: setup  ## bring the weights of a finished training, verified, and ship them  [REPLACE=1 YES=1]
	$(BUILD) pull-weights $(if $(REPLACE),--replace) $(if $(YES),--yes)

doctor: setup  ## check credentials, names, bundle before a push  [JOB=NAME]
	$(BUILD) doctor $(KAGGLE)

bench: setup .venv/benchmarks  ## measure against the alternatives, as ratios  [NAMES="scalogram inference"]
	$(BUILD) bench $(NAMES)

.venv/benchmarks: benchmarks/requirements.txt
	-@grep -v '^#' $< | while read -r line; do .venv/bin/python -m pip install --quiet --disable-pip-version-check "$$line" || echo "left out: $$line"; done
	@touch $@

test: setup  ## run every test  [ARGS="-k name"]
	$(PYTEST)

check: setup  ## format, lint, types, tests
	.venv/bin/ruff format --check . && .venv/bin/ruff check . && .venv/bin/mypy && $(PYTEST)

format: setup  ## format the code and fix what ruff can fix
	.venv/bin/ruff format . && .venv/bin/ruff check --fix .

clean:  ## remove what was built; keeps .venv
	rm -rf dist .pytest_cache .mypy_cache .ruff_cache
