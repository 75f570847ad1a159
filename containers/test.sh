#!/bin/sh
# Whether an image works: the programs start, two ranks find one another and give the store that one gives.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_mpi_yield_when_idle=1
set -- run /opt/protmpi/configs/smoke.toml --set execution.device=cpu --store
protmpi-analysis --help >/dev/null
protmpi "$@" "$work/one.zarr"
mpirun -n 2 --bind-to none --oversubscribe protmpi "$@" "$work/two.zarr"
one=$(protmpi digest "$work/one.zarr") two=$(protmpi digest "$work/two.zarr")
[ "$one" = "$two" ] || { echo "two ranks give $two, one gives $one" >&2; exit 1; }
echo "protmpi works: one rank and two give the store $one"
