#!/usr/bin/env bash
# Reference weights: early-stopped and over-trained, one rank per training.
#   sbatch slurm/train.sh CONFIG [--set section.key=value ...]
# The same command continues a training that was stopped; when the time limit nears, the job requeues itself.

#SBATCH --signal=B:USR1@120
#SBATCH --open-mode=append
#SBATCH --requeue
# ---- edit this block -------------------------------------------------------------------------------------------------
#SBATCH --job-name=protmpi-train
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=2
#SBATCH --cpus-per-task=1
#SBATCH --time=08:00:00
##SBATCH --partition=gpu --account=NAME --gpus-per-task=1
# PROTMPI_CONTAINER=protmpi-cuda.sif   # or PROTMPI_VENV=...; without either, .venv beside this folder is used
# ----------------------------------------------------------------------------------------------------------------------
# shellcheck source=slurm/common.sh
source "${PROTMPI_HOME:-${SLURM_SUBMIT_DIR:-.}}/slurm/common.sh" || exit 2 # submit from protmpi's folder, or set PROTMPI_HOME

on_ranks train "$@"
