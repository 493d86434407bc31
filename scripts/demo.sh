#!/usr/bin/env bash
# Makes .venv, installs attngan, and runs the demo: generated birds to a trained generator, scores and one HTML page.
# Arguments go to `attngan demo`, e.g. scripts/demo.sh --minutes 60
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/install.sh ""
exec .venv/bin/attngan demo "$@"
