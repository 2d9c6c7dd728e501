# make train   installs, and trains the embedded data set
# make test    installs, and runs the tests
# make faults  installs, and kills small trainings at random moments; takes long
# make aot     compiles the trainings of VOC for 16 TPU chips, with no TPU; takes long,
#              and needs the extra: .venv/bin/pip install "jax[tpu]"
# make check   installs, and runs the linters and the type checker
# Another interpreter: make test PYTHON=python3.12

PYTHON ?= python3
VENV ?= .venv$(if $(filter-out python3,$(PYTHON)),-$(notdir $(PYTHON)))
BIN := $(VENV)/bin
WORKDIR ?= runs/shapes
TOPOLOGY ?= v5e:4x4

.PHONY: train test faults aot check format lock clean

train: $(VENV)/installed
	$(BIN)/python main.py train --config configs/shapes.py --workdir $(WORKDIR)

test: $(VENV)/installed
	$(BIN)/python -m pytest -n 2 --dist loadfile

faults: $(VENV)/installed
	$(BIN)/python tests/faults/kill.py

# More options: make aot AOT="--batch_per_chip 4 --config.model.dtype=bfloat16"
aot: $(VENV)/installed
	for model in emanet_r50 emanet_r101 emanet_r152; do $(BIN)/python main.py aot \
	  --topology $(TOPOLOGY) --config configs/voc.py:$$model $(AOT) || exit 1; done

check: $(VENV)/installed
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/layering_test.py

format: $(VENV)/installed
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

$(VENV)/installed: requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --requirement requirements.txt
	touch $@

# The lock of everything the application and its tests need, for all platforms.
lock: $(VENV)/installed
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --upgrade \
	  --no-header --extra dev --output-file requirements.txt pyproject.toml

clean:
	rm -rf .venv* runs
