# shellcheck shell=bash
# What the batch scripts beside this file share: which protmpi, which launcher, and what follows an early stop.
#
# PROTMPI_LAUNCHER   how ranks are started: `srun --mpi=pmix` (default), `srun --mpi=pmi2`, `mpirun --bind-to none`, ...
# PROTMPI_CONTAINER  image file to run in; PROTMPI_VENV is the virtual environment used without one
# PROTMPI_REQUEUE=0  do not start again after an early stop
# slurm/site.sh      read first where it exists: modules and settings of this cluster (see site.example.sh)
set -u

INTERRUPTED=75 # protmpi's exit status for "committed, start me again"
here=$(dirname "${BASH_SOURCE[0]}")
# shellcheck source=/dev/null
if [ -f "$here/site.sh" ]; then source "$here/site.sh"; fi
# shellcheck source=slurm/ranks.sh
source "$here/ranks.sh"

inside=() programs=${PROTMPI_VENV:-$here/../.venv}/bin/
if [ -n "${PROTMPI_CONTAINER:-}" ]; then
  # the image has its own packages: those that modules or `protmpi launch` put before them stay outside
  inside=(env -u PYTHONPATH apptainer exec ${SLURM_JOB_GPUS:+--nv} "$PROTMPI_CONTAINER") programs=
fi

# on_ranks ARGUMENTS...: protmpi on every rank of the allocation. Returns when it has finished; ends the job with its
# status where it failed, and puts the job back into the queue where it was stopped early.
on_ranks() {
  local launcher status unstarted
  read -ra launcher <<<"${PROTMPI_LAUNCHER:-srun --mpi=pmix}"
  if [ "${launcher[0]}" = srun ]; then
    # a rank that dies takes the others along within a minute; srun does not inherit --cpus-per-task by itself
    launcher+=(--wait=60 --cpu-bind=cores ${SLURM_CPUS_PER_TASK:+"--cpus-per-task=$SLURM_CPUS_PER_TASK"})
  fi
  # USR1 says "commit and exit". It is ignored while protmpi is still starting, since it is repeated.
  # srun exits 0 where it could launch nothing at all: the first rank, on this node, takes a file away to say it began.
  unstarted=$(mktemp) || exit
  # shellcheck disable=SC2016  # the inner shell expands $0 and $@
  launcher+=(bash -c 'trap "" USR1; rm -f "$0"; exec "$@"' "$unstarted")
  # processes that wait for a message must not burn the cores of those that compute
  OMPI_MCA_mpi_yield_when_idle=1 ranks "${launcher[@]}" "${inside[@]}" "${programs}protmpi" "$@"
  status=$?
  if [ "$status" -eq $INTERRUPTED ]; then requeue; fi
  if [ -e "$unstarted" ]; then
    rm -f "$unstarted"
    echo "protmpi: ${launcher[0]} ended without starting a rank; what it printed above says why" >&2
    if [ "$status" -eq 0 ]; then status=1; fi
  fi
  if [ "$status" -ne 0 ]; then exit "$status"; fi
}

# Put this job (this task of an array) back into the queue: the same command goes on from the last commit.
# protmpi itself gives up when a job has started three times in a row at the same step.
requeue() {
  local job=${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID} state
  job=${job:-${SLURM_JOB_ID:-}}
  if [ "${PROTMPI_REQUEUE:-1}" = 0 ]; then exit $INTERRUPTED; fi
  if command -v scontrol >/dev/null && command -v squeue >/dev/null; then
    state=$(squeue --noheader --jobs="$job" --format=%T)
    if [ "$state" != RUNNING ]; then
      echo "protmpi: committed; job $job is ${state:-gone} and is left alone"
      exit $INTERRUPTED
    fi
    echo "protmpi: committed; job $job goes back into the queue"
    if scontrol requeue "$job"; then exit 0; fi
  fi
  echo "protmpi: committed and not requeued: submit the same command again to go on" >&2
  exit $INTERRUPTED
}
