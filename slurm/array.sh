#!/usr/bin/env bash
# One run (or training) per task of an array: several networks, or one network with several seeds.
#   sbatch --array=0-2 slurm/array.sh train configs/a.toml configs/b.toml configs/c.toml
#   sbatch --array=0-2 --dependency=aftercorr:JOB slurm/array.sh run configs/a.toml configs/b.toml configs/c.toml
#   sbatch --array=1-8 slurm/array.sh run CONFIG --set run.seed=%a --store runs/seed-%a.zarr
# Task k takes the k-th configuration, counted from 0; a single one is for all tasks. %a in any argument becomes k.

#SBATCH --signal=B:USR1@120
#SBATCH --open-mode=append
#SBATCH --requeue
# ---- edit this block -------------------------------------------------------------------------------------------------
#SBATCH --job-name=protmpi-array
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=4
#SBATCH --cpus-per-task=1
#SBATCH --time=24:00:00
##SBATCH --partition=gpu --account=NAME --gpus-per-task=1
# PROTMPI_CONTAINER=protmpi-cuda.sif   # or PROTMPI_VENV=...; without either, .venv beside this folder is used
# ----------------------------------------------------------------------------------------------------------------------
# shellcheck source=slurm/common.sh
source "${PROTMPI_HOME:-${SLURM_SUBMIT_DIR:-.}}/slurm/common.sh" || exit 2 # submit from protmpi's folder, or set PROTMPI_HOME

task=${SLURM_ARRAY_TASK_ID:?submit with --array, for example sbatch --array=0-2 slurm/array.sh run a.toml b.toml c.toml}
verb=${1:?run or train, then the configurations}
shift
configs=()
while [ $# -gt 0 ] && [ "${1#-}" = "$1" ]; do
  configs+=("$1")
  shift
done
if [ ${#configs[@]} -eq 1 ]; then config=${configs[0]}; else config=${configs[task]:?no configuration for task $task}; fi
on_ranks "$verb" "${config//%a/$task}" "${@//%a/$task}"
