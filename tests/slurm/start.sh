#!/usr/bin/env bash
# Start a single-node Slurm with two pretended GPUs, all of its files in FOLDER; Debian: slurm-wlm munge libpmix-dev.
#   tests/slurm/start.sh FOLDER CONTROL_PORT NODE_PORT; export SLURM_CONF=FOLDER/slurm.conf
set -euo pipefail
folder=$1 here=$(dirname "${BASH_SOURCE[0]}") host=$(hostname -s)

mkdir -p "$folder"/{munge,state,spool,log,dev,tmp}
chmod 755 "$folder" "$folder"/{munge,state,spool,log}
for gpu in 0 1; do # gres wants character devices; these are /dev/null
  [ -c "$folder/dev/nvidia$gpu" ] || mknod "$folder/dev/nvidia$gpu" c 1 3
done
echo "NodeName=$host Name=gpu File=$folder/dev/nvidia[0-1]" >"$folder/gres.conf"
sed "s#@FOLDER@#$folder#; s#@HOST@#$host#; s#@CLUSTER@#protmpi$2#; s#@PORT_CONTROL@#$2#; s#@PORT_NODE@#$3#" \
  "$here/slurm.conf.in" >"$folder/slurm.conf"
export SLURM_CONF=$folder/slurm.conf

[ -f "$folder/munge/key" ] || (umask 077 && head -c 1024 /dev/urandom >"$folder/munge/key")
munged --socket="$folder/munge/socket" --key-file="$folder/munge/key" --pid-file="$folder/munge/munged.pid" \
  --seed-file="$folder/munge/seed" --log-file="$folder/log/munged.log"
slurmctld -f "$SLURM_CONF"
slurmd -f "$SLURM_CONF"
for _ in $(seq 300); do
  state=$(sinfo --noheader --format=%T 2>/dev/null || true)
  [ "$state" = idle ] && exit 0
  sleep 0.1
done
echo "the node is ${state:-unknown} after 30 s:" >&2
tail -n 5 "$folder"/log/*.log >&2
exit 1
