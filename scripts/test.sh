#!/usr/bin/env bash
# Run the tests: scripts/test.sh [--all] [pytest arguments]. --all adds the slow tier.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/_env.sh"
exec "$PYTHON" -m pytest "$@"
