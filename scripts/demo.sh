#!/usr/bin/env bash
# Simulate a calcium movie, denoise it, and say what was gained. Everything goes to demo/.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/_env.sh"
PATH=$ROOT/.venv/bin:$PATH

say_and_run() {
    echo "\$ $*" >&2
    "$@"
}

mkdir -p demo
say_and_run fm2s-stack simulate demo/movie.tif --frames 300 --size 256 --overwrite
say_and_run fm2s-stack denoise demo/movie.tif demo/movie_denoised.zarr \
    --overwrite --json >demo/summary.json
"$PYTHON" scripts/demo_report.py demo
