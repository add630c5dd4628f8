#!/bin/sh
# Measures the GPU of this machine: unpacks what tools/gpu_bundle.py gathered, where it is, and runs
# `toolkit bench gpu` with the arguments given. Usage: sh tools/gpu_check.sh [--output gpu.json] ...
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
path=$PWD
if [ -f .gpu/site.tar.xz ]; then
  site=${GPU_SITE:-$PWD/.gpu/site}
  [ -d "$site" ] || { mkdir -p "$site.new" && "$python" -m tarfile -e .gpu/site.tar.xz "$site.new" && mv "$site.new" "$site"; }
  path=$path:$site
fi
[ -n "${TOOLKIT_DATA:-}" ] || { [ -d .gpu/data ] && export TOOLKIT_DATA="$PWD/.gpu/data"; } || true
export PYTHONPATH="$path${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
exec "$python" -m toolkit bench gpu "$@"
