#!/bin/sh
# Print all tables of benchmarks/README.md in order, and write their JSON files to out/. Wants an idle machine with two cores.
# Without the reference data (../shared, or DR_PERCEPTION_SHARED) only the parts that need none run.
set -u
cd "$(dirname "$0")/.." || exit 1
python="${PYTHON:-.venv/bin/python}"
shared="${DR_PERCEPTION_SHARED:-../shared}"
failed=
run() {
    echo
    echo "== $*"
    "$python" "$@" || failed="$failed
  $*"
}

if [ -d "$shared/data/bench/open" ]; then
    run benchmarks/track.py --core 0 --least-of 3
    run benchmarks/track.py --core 0 --stride 3
    run benchmarks/track.py --core 0 --frames-missing 0.1
    run benchmarks/track.py --only 000005 000006 --threads 2 --least-of 3
    run benchmarks/track.py --core 0 --profile
    run benchmarks/track.py --core 0 --peers
    run benchmarks/track.py --core 0 --camera
    run benchmarks/track.py --recovery
    run benchmarks/track.py --core 0 --loop 10000
    run benchmarks/fit.py refine search --least-of 3
    run benchmarks/fit.py --peers
    run benchmarks/calibrate_posterior.py
    run benchmarks/honesty.py --jobs 2
fi
if [ -d "$shared/data/real" ]; then
    run benchmarks/fit.py real
    run benchmarks/real.py
fi
run benchmarks/render.py --core 0
run benchmarks/gradients.py
run benchmarks/shaders.py
run benchmarks/outline_noise.py
run benchmarks/consistency.py --trials 500
run benchmarks/consistency.py --trials 500 --depth-only --only
[ -z "$failed" ] || { echo "failed:$failed" >&2; exit 1; }
