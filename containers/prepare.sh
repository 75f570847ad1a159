#!/usr/bin/env bash
# Lay out in build/container what an image is built from: the checkout, and wheels for the Python 3.11 of Debian 12.
#   containers/prepare.sh cpu|cuda
# pip runs here, with the mirrors, certificates and proxies of this machine; the build itself asks no package index.
# TORCH_INDEX: where torch's build for the CPU comes from.
set -euo pipefail
cd "$(dirname "$0")/.."
case ${1:-} in
  cpu) index=(--extra-index-url "${TORCH_INDEX:-https://download.pytorch.org/whl/cpu}") ;;
  cuda) index=() ;; # PyPI's own wheel of torch for Linux is the CUDA build, and brings CUDA's libraries
  *) echo "containers/prepare.sh: cpu or cuda" >&2 && exit 2 ;;
esac
target=build/container
rm -rf $target
mkdir -p $target/protmpi $target/wheels
cp -r pyproject.toml constraints.txt README.md LICENSE protmpi hpc analysis configs $target/protmpi/
find $target -name __pycache__ -prune -exec rm -rf {} +
download() {
  "${PYTHON:-.venv/bin/python}" -m pip download --quiet --dest $target/wheels --python-version 3.11 \
    --only-binary=:all: -c constraints.txt "$@"
}
download --no-deps "${index[@]}" torch # that index is asked for nothing else
download --find-links $target/wheels ".[sample]" "setuptools>=77"
