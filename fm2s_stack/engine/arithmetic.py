"""The arithmetic of this process while something computes: threads, and how CUDA multiplies."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_changed = threading.Condition()  # of those below
_users = 0  # blocks that compute on CUDA now
_tf32 = False  # whether theirs may round products to TF32
_held: Any = None  # torch's own settings, to be put back


@contextmanager
def repeatable(device: str, *, tf32: bool = False) -> Iterator[None]:
    """One torch thread in this thread, and only algorithms that repeat to the bit on a GPU.

    Torch's settings for CUDA are those of the whole process, while several threads compute:
    the first one that enters sets them and the last one that leaves puts them back. Those that
    want other arithmetic than who is inside wait.

    Parameters
    ----------
    device
        ``cpu`` or ``cuda:N``.
    tf32
        Whether products may be rounded to 10 bits of mantissa, on a GPU that can.
    """
    from fm2s_stack.fm2s.fit import one_thread

    with one_thread():
        if not device.startswith("cuda"):
            yield
            return
        _enter(tf32)
        try:
            yield
        finally:
            _leave()


def _enter(tf32: bool) -> None:
    global _users, _tf32, _held
    with _changed:
        _changed.wait_for(lambda: not _users or _tf32 == tf32)
        if not _users:
            import torch

            _held = torch.backends.cudnn.flags(
                enabled=True, benchmark=False, deterministic=True, allow_tf32=tf32
            )
            _held.__enter__()
            _tf32 = tf32
        _users += 1


def _leave() -> None:
    global _users, _held
    with _changed:
        _users -= 1
        if not _users:
            _held.__exit__(None, None, None)
            _held = None
            _changed.notify_all()
