"""How ScanImage interleaves channels, slices and frames in one run of pages.

Pages come channel by channel; then the frames of a slice, the slices of a volume, the frames of
the fly-back, the volumes. Versions 3 (``state.``), 4 (``scanimage.SI4.``) and 5 and later
(``SI.``) name the same things differently; the order is that of ScanImage's own ``opentif.m``.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fm2s_stack.errors import StackUnreadable
from fm2s_stack.image import Scale
from fm2s_stack.stack.layout import Layout
from fm2s_stack.stack.page_table import PageTable

_MARK = re.compile(r"^(?:scanimage\.)?SI\d?\.\w|^state\.\w", re.MULTILINE)
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|Inf)")
_FRAME = re.compile(r"^(?:frameNumberAcquisition|Frame Number Acq|frameNumbers)\s*=\s*(\d+)", re.M)


@dataclass(frozen=True)
class Setup:
    """The interleaving of an acquisition."""

    channels: tuple[str, ...]  #: names of the channels saved
    slices: int = 1  #: slices of a volume
    frames: int = 1  #: frames of a slice, one after the other
    flyback: int = 0  #: frames of the fly-back after each volume, in the file but not of the sample
    sure: bool = True  #: the header says that slices were taken, not only how many it would take

    @property
    def volume(self) -> int:
        """Frames of a volume with its fly-back, all channels counted once."""
        return self.slices * self.frames + self.flyback


def is_scanimage(table: PageTable) -> bool:
    """Whether the first page has a header of ScanImage."""
    texts = (table.texts.get("Software", ""), table.description.replace("\r", "\n"))
    return any(_MARK.search(text) for text in texts)


def header(table: PageTable) -> dict[str, str]:
    """Settings by name, without the prefix ``scanimage.``; values as MATLAB text."""
    software = table.texts.get("Software", "")
    if software.startswith("{"):
        return dict(_flat("", json.loads(software)))
    text = (software + "\n" + table.description).replace("\r", "\n")
    pairs = (line.partition("=") for line in text.split("\n"))
    return {k.strip().removeprefix("scanimage."): v.strip() for k, found, v in pairs if found}


def _flat(prefix: str, node: object) -> list[tuple[str, str]]:
    if isinstance(node, dict):
        dot = prefix + "." if prefix else ""
        return [pair for key, value in node.items() for pair in _flat(dot + key, value)]
    return [(prefix, json.dumps(node).replace('"', "'"))]


def setup(said: Mapping[str, str]) -> Setup:
    """The interleaving, from a header of any version."""
    if any(key.startswith("SI.") for key in said):
        return _setup_5(said)
    if any(key.startswith(("SI4.", "SI5.")) for key in said):
        return _setup_4(said)
    saved = [n for n in range(1, 5) if _true(said, f"state.acq.savingChannel{n}")]
    count = _whole(said, "state.acq.numberOfChannelsSave", 1)
    averaged = _true(said, "state.acq.averaging")
    return Setup(
        channels=tuple(f"Channel {n}" for n in (saved if len(saved) == count else range(count))),
        slices=_whole(said, "state.acq.numberOfZSlices", 1),
        frames=1 if averaged else _whole(said, "state.acq.numberOfFrames", 1),
        sure=False,
    )


def _setup_4(said: Mapping[str, str]) -> Setup:
    prefix = "SI4." if any(key.startswith("SI4.") for key in said) else "SI5."
    channels = [f"Channel {int(n)}" for n in _numbers(said.get(prefix + "channelsSave", "1"))]
    slices = _whole(said, prefix + "stackNumSlices", 1)
    if _true(said, prefix + "fastZEnable"):
        discard = _true(said, prefix + "fastZDiscardFlybackFrames")
        flyback = _whole(said, prefix + "fastZNumDiscardFrames", 1) if discard else 0
        return Setup(tuple(channels), slices, 1, flyback)
    averaged = _whole(said, prefix + "acqNumAveragedFrames", 1)
    frames = max(1, _whole(said, prefix + "acqNumFrames", 1) // averaged)
    return Setup(tuple(channels), slices, frames, sure=False)


def _setup_5(said: Mapping[str, str]) -> Setup:
    channels = _channel_names(said)
    slices = _whole(said, "SI.hStackManager.actualNumSlices", 0)
    slices = slices or _whole(said, "SI.hStackManager.numSlices", 1)
    averaged = _whole(said, "SI.hScan2D.logAverageFactor", 1)
    frames = max(1, _whole(said, "SI.hStackManager.framesPerSlice", 1) // averaged)
    fast = _true(said, "SI.hFastZ.enable")
    if "SI.hStackManager.enable" in said:
        stack = _true(said, "SI.hStackManager.enable")
        fast = stack and (fast or "fast" in said.get("SI.hStackManager.stackMode", "fast"))
    else:
        stack = fast or slices > 1
    if not stack or slices < 2:
        return Setup(channels)
    if not fast:
        return Setup(channels, slices, frames, sure="SI.hStackManager.enable" in said)
    discard = _true(said, "SI.hFastZ.discardFlybackFrames")
    flyback = _whole(said, "SI.hFastZ.numDiscardFlybackFrames", 0) if discard else 0
    whole = _whole(said, "SI.hStackManager.numFramesPerVolumeWithFlyback", 0)
    repeated = frames > 1 and whole == slices * frames + flyback
    return Setup(channels, slices, frames if repeated else 1, flyback)


def _channel_names(said: Mapping[str, str]) -> tuple[str, ...]:
    saved = [int(n) for n in _numbers(said.get("SI.hChannels.channelSave", "1"))] or [1]
    names = re.findall(r"'([^']*)'", said.get("SI.hChannels.channelName", ""))
    return tuple(names[n - 1] if 0 < n <= len(names) else f"Channel {n}" for n in saved)


def regions(table: PageTable, said: Mapping[str, str]) -> int:
    """Number of regions of interest that are stacked on top of each other in a page."""
    if not _true(said, "SI.hRoiManager.mroiEnable"):
        return 1
    try:
        groups = json.loads(table.texts.get("Artist", "")).get("RoiGroups", {})
        rois = groups["imagingRoiGroup"]["rois"]
    except (ValueError, KeyError, TypeError, AttributeError):
        return 1
    return len(rois) if isinstance(rois, list) else 1


def layout(table: PageTable, pages: int, times: NDArray[np.float64], path: str) -> Layout:
    """Frames, channels and slices of a run of `pages` pages.

    Parameters
    ----------
    table
        Of the first file of the recording.
    pages
        Pages of all files together.
    times
        Seconds of each page; empty if not recorded.
    path
        The first file, for messages.

    Raises
    ------
    StackUnreadable
        If a page holds several regions of interest, or the file begins inside a volume.
    """
    said = header(table)
    found = setup(said)
    count = regions(table, said)
    if count > 1:
        raise StackUnreadable(
            f"{path}: each page holds {count} regions of interest below each other; split them "
            "first, or give --axes TYX to take pages as they are"
        )
    found, notes = _fitted(found, pages)
    _check_start(table, found, said, path)
    numbers, dropped = interleaved(found, pages)
    first = times[numbers[:, 0, 0]] if len(times) == pages else np.array([math.nan])
    return Layout(
        format="ScanImage TIFF",
        numbers=numbers,
        scale=_scale(said, table, found),
        channels=found.channels,
        timestamps=tuple(first.tolist()) if np.isfinite(first).all() else None,
        notes=notes + dropped,
    )


def interleaved(setup: Setup, pages: int) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Page number of each (frame, channel, slice), and what was left out.

    `pages` holds at least one whole volume of `setup`.
    """
    channels, kept = len(setup.channels), setup.slices * setup.frames
    volumes, rest = divmod(pages, setup.volume * channels)
    stored = np.arange(pages - rest).reshape(volumes, setup.volume, channels)[:, :kept]
    split = stored.reshape(volumes, setup.slices, setup.frames, channels)
    numbers = split.transpose(0, 2, 3, 1).reshape(volumes * setup.frames, channels, setup.slices)
    notes = []
    if setup.flyback:
        notes.append(f"{setup.flyback} fly-back frame(s) after each volume are left out")
    if rest:
        what = "volume" if setup.volume > 1 else "frame"
        notes.append(f"the last {what} is incomplete: its {rest} page(s) are left out")
    return numbers, tuple(notes)


def _fitted(setup: Setup, pages: int) -> tuple[Setup, tuple[str, ...]]:
    names = setup.channels if pages >= len(setup.channels) else setup.channels[:pages]
    whole = setup.volume * len(names)
    if setup.slices == 1:
        return Setup(names), ()
    if not setup.sure and pages % whole:
        asked = f"{setup.slices} slices of {setup.frames} frame(s)"
        return Setup(names), (f"{asked} do not divide the {pages} pages: taken as frames",)
    if pages >= whole:
        return setup, ()
    slices = pages // (setup.frames * len(names))
    note = f"the stack was stopped after {slices} of {setup.slices} slices"
    return (Setup(names, slices, setup.frames), (note,)) if slices else (Setup(names), (note,))


def _check_start(table: PageTable, setup: Setup, said: Mapping[str, str], path: str) -> None:
    match = _FRAME.search(table.description)
    averaged = _whole(said, "SI.hScan2D.logAverageFactor", 1)
    if match is None or setup.volume == 1 or averaged > 1:
        return
    frame = int(match[1])
    if frame > 1 and (frame - 1) % setup.volume:
        raise StackUnreadable(
            f"{path}: begins at frame {frame} of the acquisition, inside a volume of "
            f"{setup.volume} frames; open it together with the files before it"
        )


def _scale(said: Mapping[str, str], table: PageTable, setup: Setup) -> Scale:
    rows, columns = table.formats[0].shape
    corners = _numbers(said.get("SI.hRoiManager.imagingFovUm", ""))
    wide = max(corners[0::2]) - min(corners[0::2]) if len(corners) == 8 else 0.0
    high = max(corners[1::2]) - min(corners[1::2]) if len(corners) == 8 else 0.0
    step = ("SI.hStackManager.actualStackZStepSize", "SI.hStackManager.stackZStepSize")
    steps = (*step, "SI4.stackZStepSize", "state.acq.zStepSize")
    z = next((abs(v) for key in steps for v in _numbers(said.get(key, ""))[:1]), 0.0)
    averaged = _whole(said, "SI.hScan2D.logAverageFactor", 1)
    rates = ("SI.hRoiManager.scanFrameRate", "SI4.scanFrameRate", "state.acq.frameRate")
    if setup.slices > 1:
        rates, averaged = ("SI.hRoiManager.scanVolumeRate",) * 3, 1
    rate = next((v for key in rates for v in _numbers(said.get(key, ""))[:1]), 0.0)
    return Scale(
        z=z if z and setup.slices > 1 else None,
        y=high / rows or None,
        x=wide / columns or None,
        t=averaged / rate if rate > 0 and not (setup.slices > 1 and setup.frames > 1) else None,
    )


def _numbers(text: str) -> list[float]:
    values = [float(number) for number in _NUMBER.findall(text)]
    return [value for value in values if math.isfinite(value)]


def _whole(said: Mapping[str, str], key: str, default: int) -> int:
    values = _numbers(said.get(key, ""))
    return max(1, int(values[0])) if values and values[0] >= 1 else default


def _true(said: Mapping[str, str], key: str) -> bool:
    return said.get(key, "").strip().lower() in ("1", "true")
