#!/usr/bin/env bash
# Table, self-checks and figures of a store, on one core, when the job that fills it has finished.
#   sbatch --dependency=afterok:JOB slurm/report.sh runs/demo/store.zarr --out runs/demo/report
# A job that requeues itself is waited for until it has really ended.

# ---- edit this block -------------------------------------------------------------------------------------------------
#SBATCH --job-name=protmpi-report
#SBATCH --ntasks=1
#SBATCH --time=01:00:00
##SBATCH --partition=cpu --account=NAME
# PROTMPI_CONTAINER=protmpi-cuda.sif   # or PROTMPI_VENV=...; without either, .venv beside this folder is used
# ----------------------------------------------------------------------------------------------------------------------
# shellcheck source=slurm/common.sh
source "${PROTMPI_HOME:-${SLURM_SUBMIT_DIR:-.}}/slurm/common.sh" || exit 2 # submit from protmpi's folder, or set PROTMPI_HOME

"${inside[@]}" "${programs}protmpi-analysis" report "$@"
