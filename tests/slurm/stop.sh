#!/usr/bin/env bash
# End the jobs and the daemons that start.sh started in FOLDER.
#   tests/slurm/stop.sh FOLDER
folder=$1
export SLURM_CONF=$folder/slurm.conf
scancel --full --signal=KILL --user="$(id -un)" 2>/dev/null
scancel --user="$(id -un)" 2>/dev/null # its job steps would outlive the daemons
for _ in $(seq 100); do
  [ -z "$(squeue --noheader --states=RUNNING,COMPLETING 2>/dev/null)" ] && break
  sleep 0.1
done
for daemon in slurmd slurmctld munge/munged; do
  if [ -f "$folder/$daemon.pid" ]; then kill "$(cat "$folder/$daemon.pid")"; fi
done
for _ in $(seq 100); do
  [ -e "$folder/slurmd.pid" ] || [ -e "$folder/slurmctld.pid" ] || break
  sleep 0.1
done
