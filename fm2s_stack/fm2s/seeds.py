"""Random streams that depend on what is computed and never on when or where."""

from __future__ import annotations

import hashlib


def stream_seed(seed: int, channel: int, t: int, z: int) -> int:
    """A 63-bit seed from the run's seed and the place of a plane in the source.

    Parameters
    ----------
    seed
        The run's seed.
    channel, t, z
        Indices in the source, from 0, whatever part of it was selected. A network for many
        planes takes those of its first plane.
    """
    text = f"fm2s {seed} {channel} {t} {z}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1
