# Everything runs in a .venv of this checkout; the first target that is called sets it up.
PYTHON ?= python3
BIN := .venv/bin
SETUP := .venv/.installed

.PHONY: setup demo demo-real test test-all lint clean

setup: $(SETUP)

# mmengine asks for opencv-python, which needs a desktop's libGL; the headless build is the same
# module without that.
$(SETUP): setup.cfg pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv >/dev/null 2>&1 || { rm -rf .venv; $(MAKE) -s venv-package && $(PYTHON) -m venv .venv; }
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@$(BIN)/python -c 'import cv2' 2>/dev/null || { \
	  $(BIN)/pip uninstall --quiet --yes opencv-python && \
	  $(BIN)/pip install --quiet --disable-pip-version-check --force-reinstall --no-deps \
	    -c constraints.txt opencv-python-headless; }
	@touch $@

# Debian keeps what `python3 -m venv` needs in a package of its own.
.PHONY: venv-package
venv-package:
	@command -v apt-get >/dev/null || { \
	  echo '$(PYTHON) has no venv module; install it, or name another: make PYTHON=python3.11'; exit 1; }
	@echo 'installing python3-venv, which $(PYTHON) needs to make a .venv'
	@if [ "$$(id -u)" = 0 ]; then S=; else S=sudo; fi; \
	  $$S apt-get update -qq && $$S apt-get install -y -qq python3-venv >/dev/null

# About four minutes' training on 2 cores, far less than the paper's 5,000 steps of 16 larger
# patches: enough to see all of it work. Patches this small gain nothing from a second thread.
DEMO_BUDGET := train_cfg.max_epochs=4 train_cfg.val_interval=1 \
  train_dataloader.batch_size=4 train_dataloader.dataset.size=64 \
  train_dataloader.dataset.length=2000 optim_wrapper.optimizer.lr=1e-3 runtime.threads=1

# Train LDP-Net on the embedded synthetic scene, test it, sharpen the scene; then a study of three
# variants with two seeds each, and its report.
demo: $(SETUP)
	@$(MAKE) -s sharpened CONFIG=ldpnet/ldpnet_2022_synthetic OUT=work/demo
	@rm -rf work/demo-study
	$(BIN)/toolkit study ldpnet/studies/demo --work-dir work/demo-study
	@echo
	@echo 'report   work/demo-study/report.html'
	@$(MAKE) -s demo-images

# CSASN with the smallest branches and random weights on drawn ultrasound images: 34 s of training and
# 14 s of testing on one core. macro-AUC on 82 images of 31 other patients, seeds 0, 1, 2 (chance: .5):
# composition .951 .962 .977, pathology .814 .713 .807, margin .724 .673 .772.
.PHONY: demo-images
demo-images: $(SETUP)
	@rm -rf work/demo-images
	$(BIN)/toolkit train csasn/csasn_demo --work-dir work/demo-images
	$(BIN)/toolkit test --run work/demo-images
	@echo
	@echo 'tables   work/demo-images/clinical.md'
	@echo 'figures  work/demo-images/figures'
	@echo 'pictures work/demo-images/pictures'

# The same on the IKONOS scene of TOOLKIT_DATA.
demo-real: $(SETUP)
	@test -n "$$TOOLKIT_DATA" || { echo 'set TOOLKIT_DATA to the folder that holds ikonos/'; exit 2; }
	@$(MAKE) -s sharpened CONFIG=ldpnet/ldpnet_2022 OUT=work/demo-real

.PHONY: sharpened
sharpened:
	@rm -rf $(OUT)
	$(BIN)/toolkit train $(CONFIG) $(DEMO_BUDGET) --work-dir $(OUT)
	$(BIN)/toolkit test --run $(OUT)
	$(BIN)/toolkit predict --run $(OUT) --output $(OUT)/sharpened.tif
	@echo
	@echo 'picture  $(OUT)/sharpened.png'
	@echo 'image    $(OUT)/sharpened.tif'
	@echo 'table    $(OUT)/metrics.json (printed above)'

# A file of tests is one process's, and each process has a core.
test: $(SETUP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

test-all: $(SETUP)
	$(BIN)/python -m pytest -m 'not gpu'

# A small run, and one of each system, that are killed 100 times at random moments end with the bits
# of runs left alone.
.PHONY: soak
soak: $(SETUP)
	OMP_NUM_THREADS=1 TOOLKIT_SOAK_KILLS=100 $(BIN)/python -m pytest -m slow tests/toolkit/engine/test_soak.py

# A run of 100,000 iterations: memory, handles, files and the cost of an iteration stay flat.
.PHONY: long-run
long-run: $(SETUP)
	OMP_NUM_THREADS=1 TOOLKIT_LONG_RUN=100000 $(BIN)/python -m pytest -s -m slow tests/toolkit/engine/test_long_run.py

# Each file operation of a small run, of a small study with its report, and of commands that write
# files fails in three or four ways; at most what came after the last checkpoint is lost, and what goes on has the bits of one that
# nothing happened to.
.PHONY: failing-disk
failing-disk: $(SETUP)
	OMP_NUM_THREADS=1 TOOLKIT_DISK_STEP=1 $(BIN)/python -m pytest -m slow tests/toolkit/run/test_failing_disk.py tests/toolkit/study/test_failing_disk.py tests/test_failing_disk_of_commands.py

# Every value of a wrong type at every argument of every config and study is found by the check.
.PHONY: wrong-types
wrong-types: $(SETUP)
	OMP_NUM_THREADS=1 TOOLKIT_WRONG_TYPES_STEP=1 $(BIN)/python -m pytest -s -m slow tests/test_wrong_types.py

# 2,000 simulated studies of each design, in which nothing differs and in which something does: how
# often the tests of their tables see a difference.
.PHONY: simulated-studies
simulated-studies: $(SETUP)
	OMP_NUM_THREADS=1 TOOLKIT_SIMULATED_STUDIES=2000 $(BIN)/python -m pytest -q -s tests/toolkit/analysis/test_simulated_studies.py

# Studies of each design that are killed ten times end as ones that nothing disturbed.
.PHONY: killed-studies
killed-studies: $(SETUP)
	OMP_NUM_THREADS=1 TOOLKIT_STUDY_KILLS=10 $(BIN)/python -m pytest -s -m slow tests/toolkit/study/test_execute.py -k kill

lint: $(SETUP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy --python-executable $(BIN)/python

# What a GPU machine without network lacks, into .gpu/: then copy this checkout there.
.PHONY: gpu-bundle gpu-check
gpu-bundle: $(SETUP)
	$(BIN)/python tools/gpu_bundle.py .gpu

# On a machine with a GPU, with the Python that holds its torch; nine minutes; then
# `toolkit bench gpu-report gpu.json` writes docs/gpu.md, here or anywhere.
gpu-check:
	sh tools/gpu_check.sh --output gpu.json

.PHONY: docs
# The documentation as a site, into site/: open site/index.html. Search needs a server:
# python -m http.server -d site
docs: $(SETUP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --site-dir $(or $(SITE),site)

.PHONY: notebooks
# Run the notebooks and keep their outputs, which a test compares with those of a run of its own.
notebooks: $(SETUP)
	PATH=$(CURDIR)/$(BIN):$$PATH $(BIN)/python tools/run_notebooks.py docs/notebooks/*.ipynb

.PHONY: wheel
# The last commit's wheel, into dist/, built twice: whoever builds the same commit gets the same bytes.
wheel:
	@rm -rf build/wheel dist && mkdir -p build/wheel dist
	@for n in 1 2; do \
	  mkdir -p build/wheel/$$n/source && git archive HEAD | tar -x -C build/wheel/$$n/source && \
	  SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) $(PYTHON) -m build --wheel $(BUILD_OPTIONS) \
	    --outdir build/wheel/$$n build/wheel/$$n/source >build/wheel/$$n.log 2>&1 || \
	    { tail -20 build/wheel/$$n.log; exit 1; }; \
	done
	@cmp build/wheel/1/*.whl build/wheel/2/*.whl
	@cp build/wheel/1/*.whl dist/ && rm -rf build/wheel && sha256sum dist/*.whl

clean:
	rm -rf .venv build dist site *.egg-info work
