# shellcheck shell=bash
# Settings of one cluster for all batch scripts: copy to slurm/site.sh (git ignores it) and keep what applies.
# Account and partition can be left out of the scripts too: sbatch reads SBATCH_ACCOUNT and SBATCH_PARTITION.

module purge
module load python/3.11 openmpi/5.0

: "${PROTMPI_VENV:=$HOME/protmpi/.venv}" # what the environment or a script already says stays
# : "${PROTMPI_CONTAINER:=$HOME/protmpi/protmpi-cuda.sif}"
# : "${PROTMPI_LAUNCHER:=srun --mpi=pmix}"
# export APPTAINER_BIND=/scratch          # folders of data and stores that the container does not see by itself
# export OMPI_MCA_btl_tcp_if_include=ib0  # if Open MPI picks a network that the nodes do not share
