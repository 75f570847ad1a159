# protmpi: `make demo` and `make test` are the two commands of the README.
PYTHON ?= python3
MPIRUN ?= .venv/bin/mpirun
RANKS   = slurm/ranks.sh $(MPIRUN) -n 2 --bind-to none
RUN     = runs/demo
export OMPI_ALLOW_RUN_AS_ROOT = 1
export OMPI_ALLOW_RUN_AS_ROOT_CONFIRM = 1
export OMPI_MCA_mpi_yield_when_idle = 1

.PHONY: setup demo gallery points test check laws kills lint docs kspin yardstick tempering structures gpu gpu-speed study-start container-cpu container-cuda

setup: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	test -x .venv/bin/python || $(PYTHON) -m venv .venv
	.venv/bin/pip install -q -c constraints.txt -e '.[sample,mpi,launch,test]'
	touch $@

demo: setup
	.venv/bin/protmpi data make configs/demo.toml
	$(RANKS) .venv/bin/protmpi train configs/demo.toml
	$(RANKS) .venv/bin/protmpi run configs/demo.toml
	.venv/bin/protmpi-analysis report $(RUN)/store.zarr --out $(RUN)/report

# The figures of docs/validation/gallery.md, and those that it names: at most 30 minutes on two quiet cores. Stores go on where they ended.
NETWORKS = transformer-1-26 transformer-1-64 transformer-4-14 transformer-4-64 pooling-64-320
GALLERY  = runs/gallery
gallery: setup
	.venv/bin/protmpi data make configs/gallery/transformer-1-26.toml
	for network in $(NETWORKS); do \
	  $(RANKS) .venv/bin/protmpi train configs/gallery/$$network.toml && \
	  $(RANKS) .venv/bin/protmpi run configs/gallery/$$network.toml || exit 1; \
	done
	.venv/bin/protmpi-analysis report $(NETWORKS:%=$(GALLERY)/%.zarr) --out $(GALLERY)/report
	.venv/bin/protmpi-analysis training $(NETWORKS:%=$(GALLERY)/%.h5) --out $(GALLERY)/report
	mkdir -p docs/validation/gallery
	cp $(GALLERY)/report/training-transformer-1-26.png docs/validation/gallery/
	for network in transformer-1-26 transformer-1-64 transformer-4-64; do \
	  for figure in overlaps gains attention; do \
	    cp $(GALLERY)/report/$$network/$$figure.png docs/validation/gallery/$$network-$$figure.png || exit 1; \
	  done; \
	done
	for network in transformer-4-64 pooling-64-320; do \
	  cp $(GALLERY)/report/$$network/network.png docs/validation/gallery/$$network-network.png || exit 1; \
	done

# Attention that measures distance (docs/validation/points.md): at most 15 minutes on two quiet cores. What is trained stays.
POINTS = runs/points
PTRAIN = xargs -P 2 -L 1 .venv/bin/protmpi train configs/points.toml
points: setup
	for e in 0.5 1 1.5 2 2.5 3 3.5 4; do \
	  echo --set train.file=$(POINTS)/exponent/$$e.h5 --set data.exponent=$$e; \
	done | $(PTRAIN)
	for head in 1 2 3 4 5 6; do for dimension in 1 2 3 4; do \
	  echo --set train.file=$(POINTS)/head/$$dimension-$$head.h5 --set data.dimension=$$dimension \
	    --set model.heads=1 --set model.d=$$head --set model.head=$$head; \
	done; done | $(PTRAIN)
	for more in 'raw.h5 --set train.max_epochs=10000 --set train.patience=10000 --set train.eval_every=10' \
	  'rotated.h5 --set data.rotations=1000 --set train.batch=10 --set train.max_epochs=10 --set train.eval_every=1'; do \
	  echo --set data.train=10 --set data.val=80 --set train.file=$(POINTS)/rotation/$$more; \
	done | $(PTRAIN)
	.venv/bin/protmpi train configs/points-sampling.toml
	$(RANKS) .venv/bin/protmpi run configs/points-sampling.toml
	.venv/bin/protmpi-analysis report $(POINTS)/store.zarr --out $(POINTS)/report
	.venv/bin/protmpi-analysis points $(POINTS) --out $(POINTS)/report --strict
	mkdir -p docs/validation/points
	cp $(POINTS)/report/experiments.png $(POINTS)/report/distance.png docs/validation/points/

test: setup
	MPIRUN=$(MPIRUN) .venv/bin/python -m pytest

# Three minutes that touch every room, for whoever changes a line.
ROOMS = tests/test_rooms.py tests/docs tests/data/test_pdb_files.py tests/models/test_gradients.py tests/store tests/hpc \
  tests/sampling/test_trajectories.py tests/sampling/test_trajectory_block.py tests/run/test_command_lines.py tests/run/test_terminal.py \
  tests/run/test_starts.py tests/analysis/test_sampler_checks.py tests/analysis/test_significance.py tests/bench/test_correlation.py
check: lint
	.venv/bin/python -m pytest -m "not slow" $(ROOMS)

# The long versions of the tests of the laws.
laws: setup
	PROTMPI_LONG=1 .venv/bin/python -m pytest tests/sampling tests/validation

# A kill at every moment of a short run, some 1,700 of about a second each, and a hundred at random times of a longer one.
kills: setup
	PROTMPI_KILLS=all .venv/bin/python -m pytest -s tests/faults/test_kill_points.py tests/faults/test_kills.py

# Two test modules of one name cannot be collected together: pytest imports them by that name.
lint: setup
	.venv/bin/ruff check .
	.venv/bin/mypy
	@! basename -a tests/*/test_*.py | sort | uniq -d | grep .

# The site of docs/ in build/site, in an environment of its own. It fails on a broken link.
DOCS_ENV ?= build/docs
docs: setup $(DOCS_ENV)/bin/mkdocs
	.venv/bin/python docs/reference.py
	NO_MKDOCS_2_WARNING=1 $(DOCS_ENV)/bin/mkdocs build --strict --quiet
	@echo "wrote build/site/index.html; with search: python3 -m http.server -d build/site"

$(DOCS_ENV)/bin/mkdocs:
	$(PYTHON) -m venv $(DOCS_ENV)
	$(DOCS_ENV)/bin/pip install -q $$($(PYTHON) -c 'import tomllib; \
	  print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["docs"])')

# Against hybrid Monte Carlo, some hours each on two cores. Stores go on where they ended.

# Hybrid Monte Carlo takes over the walkers of pseudo-Langevin, each temperature in a store of its own.
KSPIN   = runs/kspin
LADDER  = 1e-6 3e-6 1e-5 2e-5 3e-5
GOES_ON = --set sampler.walkers_per_temperature=3 --set sampler.adapt_until=1600 --set sampler.min_adj_step=800 --set run.steps=5600
kspin: setup
	.venv/bin/protmpi train configs/kspin.toml
	$(RANKS) .venv/bin/protmpi run configs/kspin.toml
	for t in $(LADDER); do \
	  echo --set sampler.temperatures=[$$t] --set sampler.start=$(KSPIN)/store.zarr --store $(KSPIN)/hmc-$$t.zarr; \
	done | xargs -P 2 -L 1 .venv/bin/protmpi run configs/kspin-hmc.toml $(GOES_ON)
	.venv/bin/python validation/continued.py $(KSPIN)/store.zarr $(LADDER:%=$(KSPIN)/hmc-%.zarr)

# Below T = 5e-3 the pooling network stays on a plateau of U when it starts from fresh weights (docs/validation/hybrid-monte-carlo.md).
YARDSTICK = runs/yardstick
HOT       = --set sampler.temperatures=[5e-3,7e-3,1e-2]
SMALL     = --set sampler.rho=1e-5 --set sampler.rho_first=5e-5 --set sampler.max_extractions=200
beside    = { .venv/bin/protmpi run configs/yardstick.toml --set model.name=$(1) $(2) --store $(YARDSTICK)/$(1).zarr & \
  .venv/bin/protmpi run configs/yardstick-hmc.toml --set model.name=$(1) $(3) --store $(YARDSTICK)/$(1)-hmc.zarr && wait; } && \
  .venv/bin/python validation/yardstick.py $(YARDSTICK)/$(1).zarr $(YARDSTICK)/$(1)-hmc.zarr
yardstick: setup
	.venv/bin/protmpi data make configs/yardstick.toml
	$(call beside,transformer-1-26)
	$(call beside,pooling-64-320,$(HOT) $(SMALL) --set sampler.adapt_until=4000 --set run.steps=16000,$(HOT) --set \
	  sampler.adapt_until=2500 --set run.steps=12500)

# What only a machine with a GPU can show. `gpu`, ten minutes with the data and weights of `make study-start` made before:
# graphs and kernels, then the ladder of configs/study/ from hot and cold starts; it goes on where it ended. `gpu-speed`
# (docs/validation/performance.md): steps per second and what TF32 does to <U>, some twenty minutes.
GPU    = runs/gpu
STUDY  = configs/study/transformer-1-26.toml
study-start: setup
	.venv/bin/protmpi data make $(STUDY)
	$(RANKS) .venv/bin/protmpi train $(STUDY)

gpu: setup
	.venv/bin/python -m pytest tests/models/test_recording.py tests/models/test_gradients.py tests/hpc/test_world.py
	.venv/bin/protmpi run $(STUDY) --set execution.device=cuda --set execution.wall_time=480 || test $$? = 75
	.venv/bin/protmpi-analysis report runs/study/transformer-1-26.zarr --out $(GPU)/report

gpu-speed: setup
	mkdir -p $(GPU)
	.venv/bin/protmpi bench --device cuda --json > $(GPU)/bench.json
	for tf32 in false true; do \
	  .venv/bin/protmpi run $(STUDY) --set run.steps=10000 --set execution.device=cuda --set execution.tf32=$$tf32 \
	    --store $(GPU)/tf32-$$tf32.zarr || exit 1; \
	done
	.venv/bin/protmpi-analysis compare $(GPU)/tf32-false.zarr $(GPU)/tf32-true.zarr

# Replica exchange (10 minutes on two quiet cores) and the independent walkers that it must agree with (27 more).
# Four at each temperature: what a walker keeps of its start for the length of a run shows only between walkers.

TEMPERING = runs/tempering
tempering: setup
	.venv/bin/protmpi data make $(STUDY)
	$(RANKS) .venv/bin/protmpi run configs/tempering.toml
	$(RANKS) .venv/bin/protmpi run configs/tempering.toml --store $(TEMPERING)/independent.zarr \
	  --set tempering.kind=none --set tempering.slots=3 --set sampler.walkers_per_temperature=4 \
	  --set sampler.adapt_until=6000 --set run.steps=50000
	.venv/bin/protmpi-analysis tempering $(TEMPERING)/store.zarr --out $(TEMPERING)/report
	.venv/bin/protmpi-analysis free-energy $(TEMPERING)/store.zarr --out $(TEMPERING)/report
	.venv/bin/python validation/tempering.py $(TEMPERING)/store.zarr $(TEMPERING)/independent.zarr

# Masked residues of made-up folds, with coordinates and without: by its CPU time some ten minutes on two quiet cores.

STRUCTURES = runs/structures
structures: setup
	test -d $(STRUCTURES)/folds || .venv/bin/python validation/folds.py $(STRUCTURES)/folds --chains 1200
	test -f $(STRUCTURES)/chains.h5 || \
	  .venv/bin/protmpi data structures $(STRUCTURES)/folds --out $(STRUCTURES)/chains.h5
	.venv/bin/protmpi train configs/structures.toml & .venv/bin/protmpi train configs/structures-sequence.toml && wait
	.venv/bin/protmpi structures score configs/structures.toml configs/structures-sequence.toml
	.venv/bin/protmpi structures contacts configs/structures.toml configs/structures-sequence.toml
	$(RANKS) .venv/bin/protmpi run configs/structures.toml
	.venv/bin/protmpi-analysis report $(STRUCTURES)/store.zarr --out $(STRUCTURES)/report

# Images for `apptainer exec` (docs/guide/clusters.md), built and tested as root; each takes some minutes.

APPTAINER ?= apptainer
container-cpu container-cuda: container-%: setup
	containers/prepare.sh $*
	$(APPTAINER) build --force --build-arg version=$(shell git describe --always --dirty) \
	  protmpi-$*.sif containers/protmpi-$*.def
