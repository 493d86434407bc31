#!/usr/bin/env bash
# Makes .venv, installs attngan with its test extra, and runs lint, types and the tests that are not marked slow.
# Arguments go to pytest, e.g. scripts/test.sh tests/networks
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/lint.sh
# one thread: the tests' tensors are tiny, and threads that wait for each other cost more than they bring
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
# two processes, each file whole in one of them (a file's fixtures are made once); TEST_PROCESSES=0 for none
.venv/bin/python -m pytest -m "not slow" -n "${TEST_PROCESSES:-2}" --dist loadfile "$@"
