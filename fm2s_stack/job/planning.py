"""Planning a run: from a stack and settings to a `Plan`, without training or torch."""

from __future__ import annotations

import numpy as np

from fm2s_stack.engine.devices import FEEDING, SERVED, usable_threads
from fm2s_stack.errors import UsageError
from fm2s_stack.image import Shape5, StackAxis
from fm2s_stack.job.deciding import (
    FIT_PIXELS,
    STUDIED_PIXELS,
    decide_mode,
    require_precision,
    settle_device,
)
from fm2s_stack.memory import allowed_memory
from fm2s_stack.plan import SHARD_PLANES, Cut, Plan, Request, make_plan
from fm2s_stack.settings import Auto, FitSettings, RunSettings, WriteSettings
from fm2s_stack.stack.base import Stack

FIT_PLANES = 10  #: planes that one network is trained on at most
INTENSITY_PLANES = 24  #: planes that the intensity map is measured on at most
PART_SIDE = 2048  #: side of the parts that are trained on where one plane has more, pixels
INTENSITY_PIXELS = 2**23  #: pixels that the percentiles are taken of at most
FIT_BYTES_PER_PIXEL = 24  #: raw, target, level, and what is read, while training
WHOLE_BYTES_PER_PIXEL = 1500  #: hidden channels and their gradients, training whole planes
TRAINED_PIXELS = 3 * 2**24  #: that -c auto is trained on at most, with all neighbours
STUDIED_PLANES = 512  #: that the background is the mean of, at most
GROUP = 4  #: consecutive planes, of whose mean components are told
LEAST_STUDIED = 96  #: planes that components are told from, at least
COMPONENT_PIXELS = 2**26  #: of the means that components are told from, at most
PLANEWISE_BYTES = 2**28  #: of tiles, their estimates and equations, in a fit of planes themselves
NOISE_PIXELS = 2**24  #: that the noise is measured on at most
NOISE_BYTES_PER_PIXEL = 48  #: while the noise is measured
TRUST_SIDE = 256  #: of the part by which a result is judged before it is sealed, pixels
TRUST_BYTES = (200, 80)  #: held for each of its pixels meanwhile, and of each plane of a run
TRUST_RUN = 16  #: planes of a run
FRAME_FIT_PLANES = 16  #: planes of a unit at most where each is fitted: minutes, not hours


def plan_stack(
    stack: Stack,
    fit: FitSettings,
    *,
    write: WriteSettings = WriteSettings(),  # noqa: B008 - frozen
    run: RunSettings = RunSettings(),  # noqa: B008 - frozen
    trained: bool = False,
    cut: Cut | None = None,
) -> Plan:
    """The units, shards and projected memory of a run, without running anything.

    Parameters
    ----------
    stack
        From `open_stack`.
    fit, write, run
        As for a run.
    trained
        Whether the networks are there already, so that training takes no memory.
    cut
        How the output that is continued was cut; None: a new one.

    Raises
    ------
    UsageError
        If settings contradict each other or the stack.
    """
    along = stack_axis(stack, run, write)
    fit = decide_mode(stack, fit, along)
    require_precision(fit, write)
    run = settle_device(fit, run)
    slots, workers = _slots(run)
    per_frame, shape = fit.mode == "frame", stack.image.shape
    unit_fit = shape[3] * shape[4] * WHOLE_BYTES_PER_PIXEL if fit.crop is None else 0
    unit_fit += PLANEWISE_BYTES if fit.is_planewise else 0
    return make_plan(
        Request(
            shape=shape,
            along=along,
            input_itemsize=stack.image.dtype.itemsize,
            output_itemsize=output_dtype(stack, write).itemsize,
            block_bytes=_block_bytes(stack),
            workers=workers,
            threads=slots,
            memory=run.memory or allowed_memory(),
            pyramid=write.pyramid,
            sharded=write.ome_zarr == "0.5",
            chunks=write.chunks,
            most_planes=_most_planes(fit),
            whole_planes=per_frame or fit.nan == "keep",
            fit_bytes=0
            if trained or (per_frame and not fit.is_planewise)
            else fit_bytes(shape, fit, slots, _block_bytes(stack)),
            unit_fit_bytes=unit_fit if per_frame else 0,
            trust_bytes=_trust_bytes(shape, along),
            cut=cut,
        )
    )


def _slots(run: RunSettings) -> tuple[int, int]:
    """Planes, or batches on GPUs, computed at a time; and units in flight.

    There are always units being read and written beside those that compute. On the CPU one
    thread reads and writes what six compute; a GPU keeps a few threads busy with that.
    """
    threads = usable_threads(run.threads)
    if run.device in ("cpu", "auto"):
        return threads, min(threads + 1, 2 + -(-threads // SERVED))
    gpus = max(1, run.device.count(",") + 1)
    return gpus, gpus + max(1, min(threads, FEEDING * gpus))


def fit_bytes(shape: Shape5, fit: FitSettings, fits_at_a_time: int, block_bytes: int) -> int:
    """Bytes that training holds at its peak."""
    if isinstance(fit.preset, Auto) and not fit.is_planewise:
        return _auto_bytes(shape, fits_at_a_time, block_bytes)
    planes, pixels = shape[0] * shape[2], shape[3] * shape[4]
    if pixels <= FIT_PIXELS:
        trained, largest = min(affordable_planes(pixels, FIT_PLANES), planes) * pixels, pixels
    else:
        trained, largest = FIT_PIXELS, PART_SIDE**2
    one = trained * FIT_BYTES_PER_PIXEL + 2 * block_bytes
    if fit.crop is None:
        one += largest * WHOLE_BYTES_PER_PIXEL
    sampled = min(INTENSITY_PLANES, planes) * pixels
    measured = 2 * min(INTENSITY_PIXELS, sampled) * 8
    if fit.is_planewise:
        one += PLANEWISE_BYTES
        measured = max(measured, NOISE_BYTES_PER_PIXEL * min(NOISE_PIXELS, planes * pixels))
    return (1 if fit.mode == "frame" else fits_at_a_time) * one + measured


def _auto_bytes(shape: Shape5, fits_at_a_time: int, block_bytes: int) -> int:
    """Bytes that measuring and training hold for ``-c auto`` at their peak."""
    planes, pixels = shape[0] * shape[2], shape[3] * shape[4]
    held = min(COMPONENT_PIXELS, min(shape[0] * shape[2], STUDIED_PLANES) * pixels // GROUP)
    # Means of groups as float32, listed and stacked; the mean of all, and the sums it is made of.
    studied = 2 * 4 * held + 40 * min(STUDIED_PIXELS, shape[2] * pixels)
    # The mean; and components of float16, at most 16, of the whole and of each fold.
    told = min(COMPONENT_PIXELS * GROUP // LEAST_STUDIED, shape[2] * pixels)
    stored = 4 * min(STUDIED_PIXELS, shape[2] * pixels) + 5 * 16 * 2 * told
    trained = 8 * min(TRAINED_PIXELS, planes * pixels)
    noise = NOISE_BYTES_PER_PIXEL * min(NOISE_PIXELS, planes * pixels)
    return max(studied, noise, fits_at_a_time * (trained + 2 * block_bytes)) + stored


def _trust_bytes(shape: Shape5, along: StackAxis) -> int:
    """Bytes that judging the result holds, beside what reading takes."""
    pixels = min(shape[3], TRUST_SIDE) * min(shape[4], TRUST_SIDE)
    planes = shape[0] if along == "t" else shape[2]
    return pixels * (TRUST_BYTES[0] + TRUST_BYTES[1] * min(planes, TRUST_RUN))


def affordable_planes(pixels: int, most: int) -> int:
    """Planes of so many pixels that training may hold, 1 to `most`."""
    return max(1, min(most, FIT_PIXELS // pixels))


def stack_axis(stack: Stack, run: RunSettings, write: WriteSettings) -> StackAxis:
    """The axis along which units are cut and windows lie.

    Raises
    ------
    UsageError
        If the settings contradict each other.
    """
    along = run.along or stack.image.default_along()
    if write.pyramid == "zyx" and along == "t" and stack.image.shape[2] > 1:
        if run.along == "t":
            raise UsageError("--pyramid zyx halves slices together: it needs --along z")
        return "z"
    return along


def output_dtype(stack: Stack, write: WriteSettings) -> np.dtype:
    """Pixel type of the output: the input's unless another was asked for."""
    return stack.image.dtype if write.dtype is None else np.dtype(write.dtype)


def _most_planes(fit: FitSettings) -> int:
    if fit.mode != "frame":
        return SHARD_PLANES
    return FRAME_FIT_PLANES if fit.crop is not None else 1


def _block_bytes(stack: Stack) -> int:
    largest = [max(chunks) for chunks in stack.array.chunks]
    return int(np.prod(largest, dtype=np.int64)) * stack.image.dtype.itemsize
