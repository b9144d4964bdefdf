"""Whether the disk has room for an output, asked before the work."""

from __future__ import annotations

import math
import shutil

import numpy as np

from fm2s_stack.errors import OutputError
from fm2s_stack.job.sampling import Sample, read_sample, spread_places
from fm2s_stack.job.wanted import Wanted
from fm2s_stack.plan import CHUNK, Plan
from fm2s_stack.progress import Silent

SAMPLED_PLANES = 4
_CHUNK_PIXELS = CHUNK[0] * CHUNK[1] * CHUNK[2]


def require_space(wanted: Wanted, plan: Plan) -> None:
    """Refuse to begin an output that the disk cannot hold.

    Raises
    ------
    OutputError
        If less is free than the result is expected to take.
    """
    folder = wanted.target.zarr.parent
    free, needed = shutil.disk_usage(folder).free, expected_bytes(wanted, plan)
    free += _replaced_bytes(wanted)
    if free < needed:
        raise OutputError(
            f"{wanted.target.path}: about {_size(needed)} are needed and {_size(free)} are "
            f"free in {folder}: free space, or choose another place"
        )


def _size(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e8 else f"{count / 1e6:.2f} MB"


def expected_bytes(wanted: Wanted, plan: Plan) -> int:
    """Bytes that the result is expected to take at its peak.

    The pixels of a few planes of the input are compressed as the output's will be. Denoised
    ones compress better, so this is on the safe side. A TIFF is not compressed, and stands
    beside the OME-Zarr until it is complete.
    """
    exported = 0
    if wanted.target.kind != "zarr":
        exported = math.prod(wanted.image.shape) * wanted.image.dtype.itemsize
    return exported + int(plan.disk_bytes * _compressed_share(wanted))


def _replaced_bytes(wanted: Wanted) -> int:
    """Bytes that ``--overwrite`` frees before anything is written."""
    if not wanted.target.overwrite:
        return 0
    files = (file for file in wanted.target.zarr.rglob("*") if file.is_file())
    return sum(file.stat().st_size for file in files)


def _compressed_share(wanted: Wanted) -> float:
    """Compressed over plain bytes of planes spread over the stack."""
    from numcodecs import Blosc  # type: ignore[import-untyped]

    codec = Blosc(cname="lz4", clevel=5, shuffle=Blosc.BITSHUFFLE)
    frames, _, slices, rows, columns = wanted.stack.image.shape
    plain = compressed = 0
    for t, z in spread_places((0, frames), (0, slices), SAMPLED_PLANES):
        whole = Sample(t, z, (0, rows), (0, columns))
        plane = read_sample(wanted.stack, 0, whole, wanted.fit, Silent())
        pixels = _converted(plane, wanted.image.dtype).reshape(-1)
        for start in range(0, pixels.size, _CHUNK_PIXELS):
            piece = np.ascontiguousarray(pixels[start : start + _CHUNK_PIXELS])
            plain += piece.nbytes
            compressed += len(codec.encode(piece))
    return compressed / plain


def _converted(plane: np.ndarray, dtype: np.dtype) -> np.ndarray:
    with np.errstate(invalid="ignore", over="ignore"):
        return plane.astype(dtype)
