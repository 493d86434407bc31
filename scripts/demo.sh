#!/usr/bin/env bash
# Makes .venv, installs attngan, and runs the demo: within a minute birds from captions on one HTML page, drawn by the
# generator that ships; then a generator is trained on generated birds, and its pictures and scores join the page.
# Arguments go to `attngan demo`, e.g. scripts/demo.sh --captions "a small red bird with black wings" --minutes 60
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/install.sh
exec .venv/bin/attngan demo "$@"
