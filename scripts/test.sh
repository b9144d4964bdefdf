#!/usr/bin/env bash
# Run the tests: scripts/test.sh [--all] [pytest arguments]. --all adds the slow tier, for
# which root on Debian or Ubuntu gets a SLURM installed; elsewhere those tests are skipped.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/_env.sh"

install_slurm() {
    if command -v slurmctld >/dev/null || [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        return
    fi
    echo "Installing slurm-wlm and munge for the slow tests" >&2
    # Without them a few tests are skipped: no reason to fail.
    {
        timeout 120 apt-get update -qq &&
            DEBIAN_FRONTEND=noninteractive timeout 300 apt-get install -y -qq \
                --no-install-recommends slurm-wlm munge
    } >/dev/null 2>&1 || echo "SLURM could not be installed; its tests are skipped" >&2
}

case " $* " in *" --all "*) install_slurm ;; esac
exec "$PYTHON" -m pytest "$@"
