"""One line that says whether a result can be trusted, from measures without truth."""

from __future__ import annotations

from fm2s_stack.metrics.residual import Dynamic, Static
from fm2s_stack.metrics.sample import LEAST_FRAMES
from fm2s_stack.metrics.without_truth import FlatNoise, Resolution, WithoutTruth

#: Less than this hardly shows: 3 dB is what averaging two frames gives.
LITTLE_DB = 3.0
#: Part of the structure in the residual. Perfect results give 0.00 to 0.01 on simulated
#: movies, a Gaussian blur of 0.6 pixels 0.10.
STATIC_LOST = 0.05
#: Part of the changes over time in the residual; the same 5 % that events may lose.
DYNAMIC_LOST = 0.05
#: Excess correlation of the residual: perfect results give 0.00, a blur of 2 pixels 0.09.
STRUCTURED = 0.05
#: Part of a neighbouring frame's noise: filters of single frames give 0.00 to 0.01, a
#: Gaussian of 4 frames 0.09.
MIXED = 0.03
#: Part of the mean level by which it may move.
MOVED = 0.005


def trust_line(measures: WithoutTruth, pixel_size: float | None = None) -> str:
    """What the measures say, in one plain line.

    Parameters
    ----------
    measures
        Of `without_truth`.
    pixel_size
        Micrometres; None: detail is told in pixels.

    Returns
    -------
    str
        ``Trust: ...``; with ``CAUTION`` where they say that signal was removed, that the
        brightness moved, or that little was done.
    """
    doubts = doubts_of(measures)
    parts = [f"CAUTION, {' and '.join(doubts)}"] if doubts else []
    if measures.noise is not None:
        parts.append(_noise(measures.noise))
    parts.append(_residual(measures, bool(doubts)))
    parts.append(_mixing(measures.dynamic))
    if measures.resolution is not None:
        parts.append(_detail(measures.resolution, pixel_size))
    return f"Trust: {'; '.join(part for part in parts if part)}"


def doubts_of(measures: WithoutTruth) -> list[str]:
    """What is to be feared of a result, in words; none if nothing is.

    Parameters
    ----------
    measures
        Of `without_truth`.
    """
    static, dynamic, noise = measures.static, measures.dynamic, measures.noise
    lost = _is_static_lost(static) or _is_dynamic_lost(dynamic)
    doubts = ["signal was removed with the noise"] if lost else []
    if not lost and measures.whiteness.excess > STRUCTURED:
        doubts.append("what was removed is not like the noise")
    if measures.level and abs(measures.shift) > MOVED * abs(measures.level):
        doubts.append(f"the mean level moved by {100 * measures.shift / measures.level:+.1f} %")
    if noise is not None and noise.reduction < LITTLE_DB:
        doubts.append("little noise was removed")
    return doubts


def _is_static_lost(static: Static | None) -> bool:
    if static is None or static.lost is None or static.floor is None:
        return False
    return static.lost > max(STATIC_LOST, static.floor)


def _is_dynamic_lost(dynamic: Dynamic | None) -> bool:
    if dynamic is None or dynamic.lost is None or dynamic.error is None:
        return False
    return dynamic.lost > max(DYNAMIC_LOST, 2 * dynamic.error)


def _mixing(dynamic: Dynamic | None) -> str:
    """Said, not feared: it is what a filter in time does, and onsets must be judged by eye."""
    if dynamic is None or dynamic.mixing < MIXED:
        return ""
    part = 100 * dynamic.mixing
    return f"a frame holds {part:.0f} % of its neighbour's noise: onsets may be smeared in time"


def _noise(noise: FlatNoise) -> str:
    levels = f"{noise.raw:.3g} to {noise.result:.3g} grey levels"
    if not noise.result > 0:
        return f"no noise left in flat regions ({levels})"
    return f"noise down {noise.reduction:.1f} dB in flat regions ({levels})"


def _residual(measures: WithoutTruth, doubted: bool) -> str:
    static, dynamic = measures.static, measures.dynamic
    held = []
    if static is not None and static.lost is not None:
        held.append(f"{100 * static.lost:.1f} % of the structure")
    if dynamic is not None and dynamic.lost is not None and dynamic.error is not None:
        part, error = 100 * dynamic.lost, 100 * dynamic.error
        held.append(f"{part:.1f} ± {error:.1f} % of the changes over time")
    if not held:
        more = f"more is told from {LEAST_FRAMES} frames on"
        return more if doubted else f"what was removed is as white as noise ({more})"
    told = f"{' and '.join(held)}"
    kind = "" if doubted else "looks like noise and "
    return f"what was removed {kind}holds {told}"


def _detail(resolution: Resolution, pixel_size: float | None) -> str:
    return (
        f"a frame shows detail of {_length(resolution.frame_result, pixel_size)} "
        f"(raw {_length(resolution.frame_raw, pixel_size)})"
    )


def _length(pixels: float | None, pixel_size: float | None) -> str:
    if pixels is None:
        return "no size"
    return f"{pixels:.1f} px" if pixel_size is None else f"{pixels * pixel_size:.1f} µm"
