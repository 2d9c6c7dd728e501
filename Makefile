# make train   installs, and trains the embedded data set
# make test    installs, and runs the tests
# make test-oldest   the same with the oldest versions that we support, where they matter
# make notebooks   installs, and runs the notebooks of colab/
# make faults  installs, and kills small trainings at random moments; takes long
# make aot     compiles the trainings of VOC for 16 TPU chips, with no TPU; takes long,
#              and needs the extra: .venv/bin/pip install "jax[tpu]"
# make bench   times what is compared with PyTorch, with nothing else on the cores; needs
#              the extra: .venv/bin/pip install torch; PHOTOGRAPHS=FOLDER for the input too
# make docs    installs, and builds the site of the documentation in build/docs
# make dist    installs, builds what is published in dist/, and tries it
# make check   installs, and runs the linters and the type checker
# Another interpreter: make test PYTHON=python3.12

PYTHON ?= python3
VENV ?= .venv$(if $(filter-out python3,$(PYTHON)),-$(notdir $(PYTHON)))
BIN := $(VENV)/bin
REQUIREMENTS ?= requirements.txt
WORKDIR ?= runs/shapes
TOPOLOGY ?= v5e:4x4

.PHONY: train test test-oldest notebooks faults aot bench docs dist check format lock clean

train: $(VENV)/installed
	$(BIN)/python main.py train --config configs/shapes.py --workdir $(WORKDIR)

test: $(VENV)/installed
	$(BIN)/python -m pytest -n 2 --dist loadfile

# The library, and one training with all that is done with it.
test-oldest:
	$(MAKE) VENV=.venv-oldest REQUIREMENTS=tests/oldest.txt .venv-oldest/installed
	.venv-oldest/bin/python -m pytest -n 2 --dist loadfile tests/ema_jax ema_jax tests/main

notebooks: $(VENV)/installed
	$(BIN)/python tests/colab/execute.py

faults: $(VENV)/installed
	$(BIN)/python tests/faults/kill.py

# More options: make aot AOT="--batch_per_chip 4 --config.model.dtype=bfloat16"
aot: $(VENV)/installed
	for model in emanet_r50 emanet_r101 emanet_r152; do $(BIN)/python main.py aot \
	  --topology $(TOPOLOGY) --config configs/voc.py:$$model $(AOT) || exit 1; done

bench: $(VENV)/installed
	for name in em convolution network evaluation start; do \
	  $(BIN)/python benchmarks/$$name.py || exit 1; done
	test -z "$(PHOTOGRAPHS)" || $(BIN)/python benchmarks/pipeline.py --root $(PHOTOGRAPHS)

docs: $(VENV)/installed
	$(BIN)/python -m sphinx --quiet --fresh-env --fail-on-warning --keep-going docs build/docs

dist: $(VENV)/installed
	rm -rf dist
	$(BIN)/python -m build --outdir dist
	$(BIN)/python -m twine check --strict dist/*
	$(BIN)/python tests/wheel.py dist/*.whl

check: $(VENV)/installed
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/layering_test.py

format: $(VENV)/installed
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
	$(BIN)/python colab/pair.py

$(VENV)/installed: $(REQUIREMENTS)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --requirement $(REQUIREMENTS)
	touch $@

# The locks of everything the application and its tests need, for all platforms: the
# newest versions, and the oldest that pyproject.toml allows.
LOCK := uv pip compile --quiet --universal --python-version 3.11 --upgrade --no-header
lock: $(VENV)/installed
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/$(LOCK) --extra dev --output-file requirements.txt pyproject.toml
	$(BIN)/$(LOCK) --extra dev --resolution lowest-direct --no-annotate \
	  --output-file tests/oldest.txt pyproject.toml

clean:
	rm -rf .venv* runs
