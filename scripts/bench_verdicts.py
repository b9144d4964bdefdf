"""What must be reached, and whether it was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from bench_process import Result

ANY, CPU, GPU = ("cpu", "cuda"), ("cpu",), ("cuda",)


@dataclass(frozen=True)
class Bound:
    """A figure that must be reached."""

    name: str  #: what it is
    where: str  #: its place in the document, its keys joined by dots
    side: Literal["least", "most"]  #: how it is bounded
    limit: float  #: the bound, in `unit`
    unit: str = ""  #: as printed
    on: Sequence[str] = ANY  #: kinds of device that it holds for
    scale: float = 1.0  #: the document's unit in `unit`


BOUNDS = (
    Bound("disk to disk over the slower limit", "limits.ratio", "least", 0.85, on=CPU),
    Bound("fit of a stack", "main.median.fit_seconds", "most", 20, "s", CPU),
    Bound("fit of a stack", "main.median.fit_seconds", "most", 4, "s", GPU),
    Bound("disk to disk", "main.median.frames_per_second", "least", 1000, "frames/s", GPU),
    Bound("apply alone", "limits.network.frames_per_second", "least", 5000, "frames/s", GPU),
    Bound("peak memory", "main.median.peak_bytes", "most", 1.2, "GB", CPU, 1e-9),
    Bound("peak memory over its projection", "main.peak_of_projection", "most", 1),
    Bound("peak memory, longest to shortest movie", "growth.peak_change", "most", 5, "%", ANY, 100),
    Bound("--fit frame, faster than published", "frame.times_faster", "least", 40, "times", CPU),
    Bound("--fit frame", "frame.planes_per_second", "least", 30, "planes/s", GPU),
    Bound("SI-PSNR lost, SRDTrans 1", "frame.images.SRDTrans 1.below", "most", 0.5, "dB"),
    Bound(
        "SI-PSNR lost, TwoPhoton_MICE_1", "frame.images.TwoPhoton_MICE_1.below", "most", 0.5, "dB"
    ),
    Bound("--help", "start.help_seconds", "most", 0.3, "s"),
    Bound("info, page table kept", "start.info_seconds", "most", 1, "s"),
)


def verdicts(document: Result) -> list[Result]:
    """Each bound that holds for the document's kind of device, and whether it is reached.

    Returns
    -------
    list of dict
        ``name``, ``required`` and ``found`` in words, ``value`` in the unit of ``required``
        and ``reached``; the last two None where it was not measured.
    """
    kind = document["machine"]["device"].partition(":")[0]
    return [
        _verdict(bound, value_at(document, bound.where)) for bound in BOUNDS if kind in bound.on
    ]


def value_at(document: Any, where: str) -> float | None:  # noqa: ANN401
    """The figure at a place of a document of JSON; None where there is none."""
    for key in where.split("."):
        document = document.get(key) if isinstance(document, dict) else None
    return None if document is None else float(document)


def _verdict(bound: Bound, raw: float | None) -> Result:
    value = None if raw is None else raw * bound.scale
    return {
        "name": bound.name,
        "required": f"at {bound.side} {bound.limit:g} {bound.unit}".strip(),
        "found": "not measured" if value is None else f"{value:.4g} {bound.unit}".strip(),
        "value": value,
        "reached": None if value is None else _holds(bound, value),
    }


def _holds(bound: Bound, value: float) -> bool:
    return value >= bound.limit if bound.side == "least" else value <= bound.limit
