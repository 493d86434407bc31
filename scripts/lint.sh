#!/usr/bin/env bash
# Lint, format and types, in seconds; installs what is missing of .venv.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/install.sh "[test]"
.venv/bin/ruff check .
.venv/bin/ruff format --check .
.venv/bin/mypy
