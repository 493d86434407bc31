#!/usr/bin/env bash
# Kills attngan at random moments (SIGKILL, SIGTERM, SIGINT, SIGUSR1), goes on, and compares bit by bit with what was
# never disturbed; fills its disk; starts two writers. Prints a table; the exit code is 1 if anything was lost.
#   scripts/fault_drill.sh                 # 100 kills
#   scripts/fault_drill.sh --kills 10      # fewer; --help tells the rest
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON="${PYTHON:-.venv/bin/python}"
if [ "$PYTHON" = .venv/bin/python ]; then scripts/install.sh; fi
# one thread: sums are then added in the same order every time
export OMP_NUM_THREADS=1
# where Lightning's own writer would put a checkpoint first: another file system than the runs'
if [ -d /dev/shm ]; then export TMPDIR="${TMPDIR:-/dev/shm}"; fi
exec "$PYTHON" scripts/fault_drill.py "$@"
