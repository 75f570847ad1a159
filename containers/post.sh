#!/bin/sh
# What an image is made of, run as root inside it: Debian 12's Python and Open MPI, protmpi and its packages.
#   post.sh SOURCE      SOURCE/wheels holds every package that pip is to install, SOURCE/protmpi the checkout
set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
apt-get install -q -y --no-install-recommends python3 python3-venv openmpi-bin libopenmpi3 libpmix2 ca-certificates
python3 -m venv /opt/protmpi
/opt/protmpi/bin/pip install --quiet --no-index --find-links "$1/wheels" -c "$1/protmpi/constraints.txt" \
  "$1/protmpi[sample]"
ln -s /opt/protmpi/bin/protmpi /opt/protmpi/bin/protmpi-analysis /usr/local/bin/
cp -r "$1/protmpi/configs" /opt/protmpi/configs
apt-get clean
rm -rf /var/lib/apt/lists/* "$1"
