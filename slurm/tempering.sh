#!/usr/bin/env bash
# Replica exchange: temperatures move between walkers, so all ranks meet at every sweep. Best on one node.
#   sbatch slurm/tempering.sh CONFIG [--set section.key=value ...]
# The same command continues a run that was stopped; when the time limit nears, the job commits and requeues itself.

#SBATCH --signal=B:USR1@120
#SBATCH --open-mode=append
#SBATCH --requeue
# ---- edit this block -------------------------------------------------------------------------------------------------
#SBATCH --job-name=protmpi-tempering
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=4
#SBATCH --cpus-per-task=1
#SBATCH --time=24:00:00
##SBATCH --partition=gpu --account=NAME --gpus-per-task=1
# PROTMPI_CONTAINER=protmpi-cuda.sif   # or PROTMPI_VENV=...; without either, .venv beside this folder is used
# ----------------------------------------------------------------------------------------------------------------------
# shellcheck source=slurm/common.sh
source "${PROTMPI_HOME:-${SLURM_SUBMIT_DIR:-.}}/slurm/common.sh" || exit 2 # submit from protmpi's folder, or set PROTMPI_HOME

on_ranks run "$@" --set 'tempering.kind="exchange"'
