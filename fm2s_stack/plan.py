"""The plan: which units a stack is cut into, and the shards and chunks they own.

Pure integers: nothing is opened, read or written here.
"""

from __future__ import annotations

from dataclasses import dataclass

from fm2s_stack.image import Shape5


@dataclass(frozen=True)
class Unit:
    """What one task reads, denoises and writes: a box of the output, end not included.

    A unit owns whole shard files of level 0 and of each pyramid level. It has one channel,
    and a run of planes along the stack axis.
    """

    index: int  #: place in the plan, from 0
    t: tuple[int, int]  #: frames
    c: int  #: channel
    z: tuple[int, int]  #: slices
    y: tuple[int, int]  #: rows
    x: tuple[int, int]  #: columns

    @property
    def shape(self) -> Shape5:
        """Lengths of the box along tczyx."""
        (t0, t1), (z0, z1), (y0, y1), (x0, x1) = self.t, self.z, self.y, self.x
        return (t1 - t0, 1, z1 - z0, y1 - y0, x1 - x0)


@dataclass(frozen=True)
class Level:
    """One resolution of the output."""

    shape: Shape5  #: pixels along tczyx
    shard: Shape5 | None  #: pixels of one file; None: not sharded, a file a chunk
    chunk: Shape5  #: pixels compressed together; divides the shard
    factor: Shape5  #: level-0 pixels one pixel stands for, along tczyx: powers of two
