# Two commands matter: "make demo" dubs the sample, "make test" runs the tests. Both build .venv on first use.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: demo test lint venv train bench-gpu clean

demo: $(VENV)/.runtime
	@mkdir -p out
	$(BIN)/lipsync dub samples/speaker.mp4 samples/speech.wav -o out/demo.mp4 -y --report out/demo.json --sheet out/demo.png
	@echo "video:         $(CURDIR)/out/demo.mp4"
	@echo "report:        $(CURDIR)/out/demo.json"
	@echo "contact sheet: $(CURDIR)/out/demo.png"

# Files go to WORKERS processes, about 2 GB each; WORKERS=0 runs everything in one.
WORKERS ?= 2
test: $(VENV)/.dev
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

venv: $(VENV)/.dev

# Prepared crops, checkpoints and previews go to runs/; DATA holds clips.csv and the clips it lists. RECIPE=mini-open
# keeps to the clearly licensed ones; RECIPE=mini-on START=lip-forcing-mini fine-tunes a model. Stopped at any moment, the
# same command goes on where it was.
RECIPE ?= mini
START ?=
train: $(VENV)/.dev
	$(BIN)/lipsync train prepare $(DATA) --prepared runs/prepared --crop-size 256
	$(BIN)/lipsync train mini --recipe $(RECIPE) $(if $(START),--start $(START)) --prepared runs/prepared --runs runs/$(RECIPE) --model models/lip-forcing-$(RECIPE)
	$(BIN)/lipsync train sync --prepared runs/prepared --runs runs/sync --model models/sync-mini

# Speed of the large models on this GPU, with random weights of their true shapes: one table and one JSON each in out/.
# TFLOPS is the card's dense bfloat16 peak (989: H100, H200), LONG the seconds over which memory must not grow.
TFLOPS ?= 989
LONG ?= 600
bench-gpu: $(VENV)/.runtime
	@mkdir -p out
	for size in 1.3b 14b; do \
	  $(BIN)/lipsync bench --model lip-forcing-$$size --random-weights --device cuda --tflops $(TFLOPS) \
	    --lengths 10,$(LONG) --heights 512 --rounds 1 --preset realtime --option compile=true --option graphs=true \
	    --out out/bench-$$size.json > out/bench-$$size.txt || exit $$?; \
	  cat out/bench-$$size.txt; \
	done

$(VENV)/.runtime: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime
	$(PIP) install --constraint constraints.txt --editable ".[dev]"
	@touch $@

clean:
	rm -rf $(VENV) out build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
