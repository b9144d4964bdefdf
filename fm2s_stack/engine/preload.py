"""Loaded first by the workers of a local cluster."""

from __future__ import annotations

import signal


def dask_setup(worker: object) -> None:
    """Leave an interrupt to the process that started the worker.

    A terminal sends it to every process of a command; that one ends its workers in order.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
