"""`Stack`: the opened input, and the selection of frames, slices and channels from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fm2s_stack.errors import UsageError
from fm2s_stack.image import Image
from fm2s_stack.stack.frame_ranges import NO_FRAMES, FrameRanges
from fm2s_stack.stack.times import FileTimes

if TYPE_CHECKING:
    import dask.array as da

    from fm2s_stack.stack.plane_reader import PlaneReader

Bounds = tuple[int | None, int | None]


@dataclass(frozen=True)
class Identity:
    """What identifies the content of an input, wherever it lies.

    `digest` is what two runs compare: a copy on another disk has the same one.
    """

    name: str  #: file or folder name, without its folder
    size: int  #: bytes of all files together
    mtime: float  #: last change, seconds since 1970; told, never compared
    digest: str  #: blake2b over the sizes, the page table and sampled pages, hexadecimal
    times: FileTimes = field(default_factory=FileTimes, compare=False, repr=False)  #: of its files


@dataclass(frozen=True)
class Stack:
    """An opened recording.

    `array` has the axes ``tczyx``; its blocks follow the storage, and computing one reads
    it. The object and its graph pickle: they hold paths and offsets, no open files.
    """

    path: str  #: what was opened, as given
    format: str  #: what it was read as, for example ``"ImageJ TIFF"``
    array: da.Array  #: pixels, ``tczyx``, native byte order
    planes: PlaneReader  #: reads one plane by itself, by source indices
    image: Image  #: axes, scale, channels, dtype
    identity: Identity  #: of the content of the whole source, whatever is selected
    t_start: int = 0  #: source index of the first frame in `array`
    z_start: int = 0  #: source index of the first slice in `array`
    channel_indices: tuple[int, ...] = (0,)  #: source index of each channel in `array`
    breaks: tuple[int, ...] = ()  #: frames of `array` at which a new file or trial starts
    cuts: tuple[int, ...] = ()  #: further frames of `array` at which the user says a trial starts
    excluded: FrameRanges = NO_FRAMES  #: frames of `array` that are measured nowhere, and
    #: come out as they are
    notes: tuple[str, ...] = ()  #: what was assumed or dropped, to be said aloud
    headers: Mapping[str, str] = field(default_factory=dict)  #: raw metadata by name
    asked: Mapping[str, str] = field(default_factory=dict)  #: ``axes``, ``series`` where given

    @property
    def trials(self) -> tuple[tuple[int, int], ...]:
        """First frame, and one past the last, of each file or trial; of `array`.

        Where every frame is a file, they are one recording all the same.
        """
        frames = self.image.shape[0]
        breaks = self.breaks if len(self.breaks) < frames - 1 else ()
        return tuple(pairwise((0, *sorted({*breaks, *self.cuts}), frames)))

    @property
    def kept(self) -> Sequence[int]:
        """Frames of `array` that are not excluded, ascending."""
        frames = self.image.shape[0]
        if not self.excluded:
            return range(frames)
        return [t for run in self.excluded.gaps(0, frames) for t in range(*run)]

    def plane(self, t: int, c: int, z: int) -> NDArray[np.generic]:
        """Pixels of one plane, shape (y, x), indices into `array`."""
        block = self.array[t, c, z].compute(scheduler="synchronous")
        return np.asarray(block)

    def name_plane(self, t: int, c: int, z: int) -> str:
        """A plane in words, by its source indices; `t`, `c` and `z` index `array`."""
        words = [f"frame {self.t_start + t}"]
        if self.image.shape[1] > 1:
            words.append(f"channel {self.channel_indices[c]}")
        if self.image.shape[2] > 1:
            words.append(f"slice {self.z_start + z}")
        return ", ".join(words)

    def name_channel(self, c: int) -> str:
        """A channel in words, by its name or source index; nothing where it is the only one."""
        if self.image.shape[1] == 1:
            return ""
        names = self.image.channels
        return f"channel {names[c] if names else self.channel_indices[c]}"

    def select(
        self,
        *,
        frames: Bounds | None = None,
        slices: Bounds | None = None,
        channels: tuple[str, ...] = (),
    ) -> Stack:
        """The same stack with fewer frames, slices or channels.

        A bound beyond the ends is cut to what there is, as Python does, with a note.

        Parameters
        ----------
        frames, slices
            First and one past the last index, as a Python slice (from 0, negative from the
            end, None open).
        channels
            Indices (from 0) or names; empty keeps all.

        Raises
        ------
        UsageError
            If the selection is empty, or a channel is not there or named twice.
        """
        n_t, _, n_z = self.array.shape[:3]
        t0, t1 = _bounds("frames", frames, n_t)
        z0, z1 = _bounds("slices", slices, n_z)
        chosen = [self._channel(name) for name in channels] or list(range(self.array.shape[1]))
        array = self.array[t0:t1, :, z0:z1]
        if len(set(chosen)) < len(chosen):
            raise UsageError(f"--channel {', '.join(channels)}: one is named twice; give each once")
        if channels:
            array = array[:, chosen]
        image, names, times = self.image, self.image.channels, self.image.timestamps
        return replace(
            self,
            array=array,
            image=replace(
                image,
                shape=array.shape,
                channels=tuple(names[c] for c in chosen) if names else (),
                timestamps=times[t0:t1] if times is not None else None,
            ),
            notes=(
                *self.notes,
                *_beyond("frames", frames, n_t, (t0, t1)),
                *_beyond("slices", slices, n_z, (z0, z1)),
            ),
            t_start=self.t_start + t0,
            z_start=self.z_start + z0,
            channel_indices=tuple(self.channel_indices[c] for c in chosen),
            breaks=tuple(b - t0 for b in self.breaks if t0 < b < t1),
            cuts=tuple(b - t0 for b in self.cuts if t0 < b < t1),
            excluded=NO_FRAMES,
        ).without(self.excluded.moved(self.t_start))

    def split_at(self, frames: Sequence[int]) -> Stack:
        """The same stack with further trials, whose first frames are given by source index.

        Those outside the selection say nothing, nor do those that start one as it is.
        """
        length, started = self.image.shape[0], {first for first, _ in self.trials}
        new = {frame - self.t_start for frame in frames} - started
        return replace(self, cuts=(*sorted({*self.cuts, *(b for b in new if 0 < b < length)}),))

    def without(self, frames: FrameRanges, named: str = "--exclude-frames") -> Stack:
        """The same stack with further frames excluded, by source index.

        They are no part of any measurement, training or neighbourhood, and come out unchanged.
        Those outside the selection say nothing. `named` is what named them, for the error.

        Raises
        ------
        UsageError
            If no frame is left.
        """
        length = self.image.shape[0]
        own = frames.moved(-self.t_start).within(0, length)
        excluded = FrameRanges.of((*self.excluded.runs, *own.runs))
        if excluded.count == length:
            last = self.t_start + length - 1
            raise UsageError(
                f"{named}: all of the frames that are selected, {self.t_start} to {last} of "
                f"{self.path}, are excluded; at least one must be left"
            )
        return replace(self, excluded=excluded)

    def _channel(self, name: str) -> int:
        if name in self.image.channels:
            return self.image.channels.index(name)
        count = self.array.shape[1]
        if name.isdecimal() and int(name) < count:
            return int(name)
        known = ", ".join(self.image.channels) or "no names"
        raise UsageError(
            f"--channel {name}: {self.path} has {count} channel(s), 0 to {count - 1} ({known})"
        )


def _beyond(what: str, wanted: Bounds | None, length: int, got: tuple[int, int]) -> tuple[str, ...]:
    """A note where a bound given lies beyond the ends: Python takes what there is, silently."""
    start, stop = wanted or (None, None)
    if (stop is None or stop <= length) and (start is None or start >= -length):
        return ()
    return (f"--{what} {_text(start, stop)} of {length} {what}: took {got[0]} to {got[1]}",)


def _text(start: int | None, stop: int | None) -> str:
    return f"{'' if start is None else start}:{'' if stop is None else stop}"


def _bounds(what: str, wanted: Bounds | None, length: int) -> tuple[int, int]:
    start, stop, _ = slice(*(wanted or (None, None))).indices(length)
    if start >= stop:
        text = _text(*(wanted or (None, None)))
        raise UsageError(f"--{what} {text} selects none of {length} {what}; give a:b with a < b")
    return start, stop
