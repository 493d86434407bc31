#!/usr/bin/env bash
# An evening's training in ten minutes of one GPU, on a bare machine without network. Two halves:
#   scripts/gpu_run.sh pack --data data/birds --out gpu_bundle              here: all that has to travel, under 64 MiB
#   scripts/gpu_run.sh train --bundle gpu_bundle --out OUT --minutes 9      there: DAMSM, generator, scores, pictures
#   scripts/gpu_run.sh benchmark --bundle gpu_bundle                        there: how fast it trains, in 5 minutes
# `--help` after either tells the rest. PYTHON names the interpreter; .venv's is taken where there is one.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ -z "${PYTHON:-}" ]; then
    if [ -x .venv/bin/python ]; then PYTHON=.venv/bin/python; else PYTHON=python3; fi
fi
script=scripts/gpu_run.py arguments=("$@")
if [ "${1:-}" = train ] || [ "${1:-}" = benchmark ]; then
    # wheels of what a bare machine lacks; without them what is installed has to do
    for ((i = 1; i <= $#; i++)); do
        if [ "${!i}" = --bundle ]; then j=$((i + 1)); bundle=${!j}; fi
    done
    if compgen -G "${bundle:-none}/wheels/*.whl" >/dev/null; then
        site=$(mktemp -d)
        "$PYTHON" -m pip install --quiet --no-index --no-deps --no-compile --target "$site" "$bundle"/wheels/*.whl
        export PYTHONPATH="$site${PYTHONPATH:+:$PYTHONPATH}"
    fi
    if [ "$1" = benchmark ]; then
        script=scripts/benchmark_gpu.py arguments=()
        for ((i = 2; i <= $#; i++)); do
            if [ "${!i}" = --bundle ]; then ((++i)); else arguments+=("${!i}"); fi
        done
    fi
fi
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
exec "$PYTHON" "$script" "${arguments[@]}"
