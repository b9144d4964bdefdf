"""The recordings that are compared: opened, checked to fit, read some frames at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fm2s_stack.errors import OutputError, OutputIncomplete, UsageError
from fm2s_stack.stack.base import Stack
from fm2s_stack.stack.finite import require_finite
from fm2s_stack.stack.open import open_stack
from fm2s_stack.stack.reading import Box, read_blocks, read_part

Float = NDArray[np.float64]

BLOCK_BYTES = 2**26  #: of the frames of one recording that are held at a time, as float64


@dataclass(frozen=True)
class Recordings:
    """One channel each of the recordings that are compared, frames beside frames.

    A frame is a plane, or a volume whose slices lie below each other. Of a z-stack without
    time, each slice counts as a frame.
    """

    stacks: Mapping[str, Stack]  #: by what they are called, all of one shape
    channels: Mapping[str, int]  #: the channel of each, an index into its array

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Lengths along t, z, y, x."""
        t, _, z, y, x = next(iter(self.stacks.values())).array.shape
        return t, z, y, x

    @property
    def over_time(self) -> bool:
        """Whether frames follow each other in time."""
        return self.shape[0] > 1

    @property
    def frames(self) -> int:
        """How many there are: frames, or slices where there is no time."""
        t, z, _, _ = self.shape
        return t if self.over_time else z

    @property
    def planes_a_frame(self) -> int:
        """Slices of each frame."""
        return self.shape[1] if self.over_time else 1

    def read(self, name: str, start: int, stop: int) -> Float:
        """Some frames of one recording, shape (frames, planes a frame, y, x)."""
        stack, (_, z, y, x) = self.stacks[name], self.shape
        ts, zs = ((start, stop), (0, z)) if self.over_time else ((0, 1), (start, stop))
        planes = read_blocks(stack, Box(ts, self.channels[name], zs, (0, y), (0, x)))
        require_finite(stack, planes, ts[0], self.channels[name], zs[0])
        return planes.reshape(stop - start, self.planes_a_frame, y, x).astype(np.float64)

    def read_one(self, name: str, frame: int) -> Float:
        """One frame, shape (planes a frame, y, x), without those that are stored with it."""
        stack, c, (_, z, y, x) = self.stacks[name], self.channels[name], self.shape
        t, zs = (frame, range(z)) if self.over_time else (0, range(frame, frame + 1))
        planes = np.stack([read_part(stack, (t, c, i), (0, y), (0, x)) for i in zs])
        require_finite(stack, planes[None, None], t, c, zs.start)
        return planes.astype(np.float64)

    def blocks(self) -> Iterator[tuple[int, int]]:
        """First and one past the last frame of each run that is read at once."""
        axis = 0 if self.over_time else 2
        stored = max(stack.array.chunks[axis][0] for stack in self.stacks.values())
        held = BLOCK_BYTES // (8 * int(np.prod(self.shape[2:])) * self.planes_a_frame)
        step = max(1, min(stored, held))
        for start in range(0, self.frames, step):
            yield start, min(self.frames, start + step)


def open_recordings(paths: Mapping[str, str | Path], channel: str | None = None) -> Recordings:
    """Open what is compared.

    Parameters
    ----------
    paths
        Files, by what they are called: the first decides what the others must be like.
    channel
        Which one of recordings with several, by number or name.

    Raises
    ------
    UsageError
        If shapes differ, or one of several channels is to be chosen.
    OutputIncomplete
        If one is an output that was left incomplete.
    StackError
        If one cannot be opened.
    """
    stacks = {name: _open(path) for name, path in paths.items()}
    first = next(iter(stacks.values()))
    for stack in stacks.values():
        _require_shape(stack, first)
    return Recordings(stacks, {name: _channel(stack, channel) for name, stack in stacks.items()})


def _open(path: str | Path) -> Stack:
    from fm2s_stack.store.attributes import read_attributes

    if Path(path).is_dir():
        try:
            told: dict[str, Any] | None = read_attributes(path)
        except OutputError:
            told = None
        if told is not None and told.get("status") != "complete":
            raise OutputIncomplete(
                f"{path} is an output that was left incomplete: run the command that makes it again"
            )
    return open_stack(path)


def _require_shape(stack: Stack, first: Stack) -> None:
    def tzyx(of: Stack) -> tuple[int, ...]:
        t, _, z, y, x = of.array.shape
        return t, z, y, x

    if tzyx(stack) != tzyx(first):
        raise UsageError(
            f"{stack.path}: {_size(stack)}, expected those of {first.path}: {_size(first)}"
        )


def _size(stack: Stack) -> str:
    t, _, z, y, x = stack.array.shape
    return f"{t} frames of {z} slices of {y}x{x} pixels"


def _channel(stack: Stack, channel: str | None) -> int:
    count = stack.array.shape[1]
    if count == 1:
        return 0
    if channel is None:
        names = ", ".join(stack.image.channels) or "no names"
        raise UsageError(f"{stack.path}: {count} channels ({names}); choose one with --channel")
    return stack.select(channels=(channel,)).channel_indices[0] - stack.channel_indices[0]
