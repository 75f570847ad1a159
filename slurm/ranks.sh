#!/usr/bin/env bash
# Ranks that commit and exit with 75 at Ctrl-C, TERM, HUP and USR1:
#   slurm/ranks.sh mpirun -n 2 .venv/bin/protmpi run CONFIG
# mpirun of Open MPI answers INT and TERM by killing its ranks, too soon for a commit, and exits with 1. USR1 is what
# every launcher passes on. A second Ctrl-C reaches the launcher as what it is.

# ranks LAUNCHER...: run it to its end; returns its exit status.
ranks() {
  local child status signalled
  "$@" &
  child=$!
  trap tell_ranks USR1 TERM HUP
  trap interrupt_ranks INT
  # wait returns early when a signal comes in: wait again until the launcher itself has ended
  signalled=1
  while [ $signalled = 1 ]; do
    signalled=0
    wait $child
    status=$?
  done
  trap - USR1 TERM HUP INT
  return $status
}

# again and again until the run has ended: ranks that are still starting may not heed it
tell_ranks() {
  signalled=1
  while kill -USR1 "$child"; do sleep 2; done >/dev/null 2>&1 &
}

interrupt_ranks() {
  tell_ranks
  trap 'signalled=1; kill -INT $child' INT
}

# in a session of its own, which the terminal's Ctrl-C does not reach
if [ "${BASH_SOURCE[0]}" = "$0" ]; then ranks setsid "$@"; fi
