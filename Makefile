# protmpi: `make demo` and `make test` are the two commands of the README.
PYTHON ?= python3
MPIRUN ?= .venv/bin/mpirun
RUN     = runs/demo
export OMPI_ALLOW_RUN_AS_ROOT = 1
export OMPI_ALLOW_RUN_AS_ROOT_CONFIRM = 1
export OMPI_MCA_mpi_yield_when_idle = 1

.PHONY: setup demo test lint kspin yardstick

setup: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	test -x .venv/bin/python || $(PYTHON) -m venv .venv
	.venv/bin/pip install -q -c constraints.txt -e '.[sample,mpi,test]'
	touch $@

demo: setup
	.venv/bin/protmpi data make configs/demo.toml
	$(MPIRUN) -n 2 --bind-to none .venv/bin/protmpi train configs/demo.toml
	$(MPIRUN) -n 2 --bind-to none .venv/bin/protmpi run configs/demo.toml
	.venv/bin/protmpi-analysis report $(RUN)/store.zarr --out $(RUN)/report

test: setup
	MPIRUN=$(MPIRUN) .venv/bin/python -m pytest

lint: setup
	.venv/bin/ruff check .
	.venv/bin/mypy

# Against hybrid Monte Carlo, until both agree: some hours each on two cores. Stores go on where they ended.

kspin: setup
	.venv/bin/protmpi train configs/kspin.toml
	.venv/bin/protmpi run configs/kspin.toml & .venv/bin/protmpi run configs/kspin-hmc.toml && wait
	.venv/bin/python bench/yardstick.py runs/kspin/store.zarr runs/kspin/hmc.zarr energy cost norm2 train_error

YARDSTICK = runs/yardstick
yardstick: setup
	.venv/bin/protmpi data make configs/yardstick.toml
	for network in transformer-1-26 pooling-64-320; do \
	  set -- --set model.name=$$network --set train.file=$(YARDSTICK)/$$network.h5; \
	  .venv/bin/protmpi train configs/yardstick.toml "$$@" && \
	  { .venv/bin/protmpi run configs/yardstick.toml "$$@" --store $(YARDSTICK)/$$network.zarr & \
	    .venv/bin/protmpi run configs/yardstick-hmc.toml "$$@" --store $(YARDSTICK)/$$network-hmc.zarr && wait; } && \
	  .venv/bin/python bench/yardstick.py $(YARDSTICK)/$$network.zarr $(YARDSTICK)/$$network-hmc.zarr || exit 1; \
	done
