# protmpi: `make demo` and `make test` are the two commands of the README.
PYTHON ?= python3
MPIRUN ?= .venv/bin/mpirun
RUN     = runs/demo
export OMPI_ALLOW_RUN_AS_ROOT = 1
export OMPI_ALLOW_RUN_AS_ROOT_CONFIRM = 1
export OMPI_MCA_mpi_yield_when_idle = 1

.PHONY: setup demo test lint

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
