"""The XML of a Prairie View (Bruker) recording, read as a stream.

Values stand in ``PVStateShard`` elements: before version 5 as ``Key`` (one a value, the axis
in its name: ``micronsPerPixel_XAxis``), since then as ``PVStateValue``, with the axes inside as
``IndexedValue`` and ``SubindexedValue``. A recording of 100,000 frames has 100 MB of XML, so no
tree is built.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat

from fm2s_stack.errors import StackUnreadable

Values = dict[str, str]


@dataclass(frozen=True)
class PrairieFile:
    """One plane of one channel."""

    channel: str  #: number of the channel, as written
    name: str  #: name of the channel; empty if it has none
    file: str  #: name of the TIFF, in the folder of the XML
    page: int  #: page in it, from 0


@dataclass(frozen=True)
class PrairieFrame:
    """One position at one time, in every channel."""

    times: Values = field(default_factory=dict)  #: ``relativeTime``, ``absoluteTime``: seconds
    files: list[PrairieFile] = field(default_factory=list)  #: one a channel
    values: Values = field(default_factory=dict)  #: what its shard says, by key


@dataclass(frozen=True)
class PrairieSequence:
    """A run of frames: a cycle of a time series, or one pass through z."""

    type: str  #: for example ``"TSeries Timed Element"``
    attributes: Values = field(default_factory=dict)  #: cycle, bidirectionalZ, ...
    frames: list[PrairieFrame] = field(default_factory=list)  #: in the order recorded
    values: Values = field(default_factory=dict)  #: what its shard says, by key


@dataclass(frozen=True)
class PrairieScan:
    """What the XML says."""

    version: str  #: of Prairie View
    date: str  #: of the recording, as written
    sequences: list[PrairieSequence] = field(default_factory=list)  #: those with frames
    values: Values = field(default_factory=dict)  #: settings that hold for all, by key


def read_prairie_xml(file: Path) -> PrairieScan:
    """Structure, times and settings of a recording.

    Parameters
    ----------
    file
        The XML with the root ``PVScan``.

    Raises
    ------
    StackUnreadable
        If it is no well-formed Prairie XML, or has a document type (which may expand
        entities without end).
    """
    reader = _Reader(file)
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = reader.doctype
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    try:
        with file.open("rb") as stream:
            parser.ParseFile(stream)
    except (expat.ExpatError, ValueError) as error:
        if isinstance(error, StackUnreadable):
            raise
        raise StackUnreadable(
            f"{file}: the Prairie XML is damaged or was cut short ({error}); restore it from the "
            "microscope"
        ) from error
    if reader.scan is None or not reader.scan.sequences:
        raise StackUnreadable(f"{file}: names no frames; give the XML of an imaging recording")
    return reader.scan


class _Reader:
    """Collects elements as expat meets them; `_keys` are the shard's open elements."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.scan: PrairieScan | None = None
        self._sequence: PrairieSequence | None = None
        self._frame: PrairieFrame | None = None
        self._keys: list[str] = []

    def doctype(self, *_: object) -> None:
        raise StackUnreadable(f"{self.file}: has a DOCTYPE, which Prairie View does not write")

    def start(self, name: str, attributes: Values) -> None:
        if self.scan is None:
            if name != "PVScan":
                raise StackUnreadable(f"{self.file}: begins with <{name}>, expected <PVScan>")
            version, date = attributes.get("version", ""), attributes.get("date", "")
            self.scan = PrairieScan(version, date)
        elif name == "Sequence":
            self._sequence = PrairieSequence(attributes.get("type", ""), attributes)
        elif name == "Frame" and self._sequence:
            times = {key: attributes[key] for key in _TIMES if key in attributes}
            self._frame = PrairieFrame(times)
            self._sequence.frames.append(self._frame)
        elif name == "File" and self._frame:
            self._frame.files.append(self._file(attributes))
        elif name in _SHARD:
            self._value(name, attributes)

    def end(self, name: str) -> None:
        if name == "Sequence" and self._sequence:
            if self._sequence.frames and self.scan:
                self.scan.sequences.append(self._sequence)
            self._sequence = None
        elif name == "Frame":
            self._frame = None
        elif name in _SHARD:
            self._keys.pop()

    def _file(self, attributes: Values) -> PrairieFile:
        name, channel = attributes.get("filename", ""), attributes.get("channel", "1")
        page = attributes.get("page", "1")
        if not page.isdecimal() or page == "0":
            raise StackUnreadable(f"{self.file}: page {page!r} of {name}, expected 1 or more")
        return PrairieFile(channel, attributes.get("channelName", ""), name, int(page) - 1)

    def _value(self, name: str, attributes: Values) -> None:
        """Store by ``key`` or ``key_index``; values of several subindices joined by commas."""
        if name in ("Key", "PVStateValue"):
            self._keys.append(attributes.get("key", ""))
        elif name == "SubindexedValue":
            self._keys.append(self._keys[-1] if self._keys else "")
        else:
            parent = self._keys[-1] if self._keys else ""
            self._keys.append(f"{parent}_{attributes.get('index', '')}")
        scope = self._frame or self._sequence or self.scan
        wanted = self._frame is None or self._keys[-1].startswith(_FRAME_KEYS)
        if scope is not None and wanted and "value" in attributes:
            known = scope.values.get(self._keys[-1])
            text = attributes["value"]
            summed = name == "SubindexedValue" and known is not None
            scope.values[self._keys[-1]] = f"{known},{text}" if summed else text


_TIMES = ("relativeTime", "absoluteTime")
_FRAME_KEYS = ("framePeriod", "micronsPerPixel", "positionCurrent_ZAxis")
_SHARD = ("Key", "PVStateValue", "IndexedValue", "SubindexedValues", "SubindexedValue")
