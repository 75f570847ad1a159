#!/usr/bin/env bash
# One network, one ladder: all temperatures x starts over the allocation.
#   sbatch slurm/sweep.sh configs/demo.toml [--set section.key=value ...]
# The same command continues a run that was stopped; when the time limit nears, the job commits and requeues itself.

#SBATCH --signal=B:USR1@120
#SBATCH --open-mode=append
#SBATCH --requeue
# ---- edit this block -------------------------------------------------------------------------------------------------
#SBATCH --job-name=protmpi
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=4
#SBATCH --cpus-per-task=1
#SBATCH --time=24:00:00
##SBATCH --partition=gpu --account=NAME --gpus-per-task=1
VENV=${PROTMPI_VENV:-$PWD/.venv}
MPI=${PROTMPI_MPI:-pmix}
# ----------------------------------------------------------------------------------------------------------------------
set -u
INTERRUPTED=75 # protmpi's exit status for "committed, start me again"

srun --mpi="$MPI" "$VENV/bin/protmpi" run "$@" &
job=$!
trap 'kill -USR1 $job' USR1
trap 'kill -TERM $job' TERM
# wait returns early when a signal comes in: wait again until srun itself has ended
while kill -0 $job 2>/dev/null; do wait $job; status=$?; done

[ "$status" -eq $INTERRUPTED ] && exec scontrol requeue "$SLURM_JOB_ID"
exit "$status"
