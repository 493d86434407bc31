#!/usr/bin/env bash
# Installs attngan into .venv. $1: extras, e.g. "[test]"; nothing for none. Does nothing where that is done already.
set -euo pipefail
cd "$(dirname "$0")/.."
extras=${1:-}
python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
    echo "attngan needs Python 3.10 or newer: name one with PYTHON=/path/to/python3 $0" >&2
    exit 1
fi
stamp=.venv/.installed$extras
if [ ! -f "$stamp" ] || [ pyproject.toml -nt "$stamp" ]; then
    [ -x .venv/bin/python ] || "$python" -m venv .venv
    # torch and torchvision together and unpinned: pip takes a pair that fits
    .venv/bin/python -m pip install --quiet torch torchvision
    .venv/bin/python -m pip install --quiet -e ".$extras"
    touch "$stamp"
fi
