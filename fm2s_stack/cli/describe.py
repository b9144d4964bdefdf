"""Inputs, outputs and plans in words and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fm2s_stack.cli.show import size

if TYPE_CHECKING:
    from fm2s_stack.image import Image
    from fm2s_stack.plan import Plan
    from fm2s_stack.stack.base import Stack


def describe_plan(plan: Plan) -> dict[str, Any]:
    """A plan as JSON holds it."""
    return {
        "along": plan.along,
        "units": len(plan.units),
        "unit_shape": list(plan.units[0].shape),
        "in_flight": plan.workers,
        "threads": plan.threads,
        "levels": [
            {"shape": list(level.shape), "shard": level.shard, "chunk": list(level.chunk)}
            for level in plan.levels
        ],
        "projected_bytes": plan.projected_bytes,
        "allowed_bytes": plan.memory,
        "fits": plan.fits,
        "disk_bytes": plan.disk_bytes,
    }


def plan_lines(plan: Plan) -> list[str]:
    """A plan in words."""
    first, level = plan.units[0], plan.levels[0]
    files = "shards" if level.shard else "chunks"
    allowed = "" if plan.memory is None else f" of {size(plan.memory)} allowed"
    lines = [
        f"units     {len(plan.units)} of up to {_times(first.shape)} (tczyx) along {plan.along}, "
        f"{plan.workers} in flight",
        f"output    {len(plan.levels)} level(s), {files} of {_times(level.shard or level.chunk)}, "
        f"chunks of {_times(level.chunk)}",
        f"memory    {size(plan.projected_bytes)} at most{allowed}",
        f"disk      {size(plan.disk_bytes)} before compression",
    ]
    return (
        lines if plan.fits else [*lines, "          too much memory: a run would refuse to start"]
    )


def describe_stack(stack: Stack) -> dict[str, Any]:
    """A stack as JSON holds it."""
    image, times = stack.image, stack.image.timestamps
    return {
        "path": stack.path,
        "format": stack.format,
        "axes": image.axes,
        "shape": list(image.real_shape),
        "dtype": image.dtype.name,
        "micrometres": {"z": image.scale.z, "y": image.scale.y, "x": image.scale.x},
        "frame_interval_s": image.scale.t,
        "timestamps_s": None if times is None else [times[0], times[-1]],
        "channels": list(image.channels),
        "bytes": stack.identity.size,
        "digest": stack.identity.digest,
        "breaks": list(stack.breaks),
        "cuts": list(stack.cuts),
        "excluded": [list(run) for run in stack.excluded.runs],
        "notes": list(stack.notes),
        "headers": list(stack.headers),
    }


def stack_lines(stack: Stack) -> list[str]:
    """A stack in words."""
    image = stack.image
    lines = [
        f"input     {stack.path}",
        f"format    {stack.format}, {size(stack.identity.size)}",
        f"pixels    {image.axes} {_times(image.real_shape)} {image.dtype.name}",
        f"scale     {_scale(image)}",
    ]
    if image.channels:
        lines.append(f"channels  {', '.join(image.channels)}")
    if image.timestamps is not None:
        lines.append(f"times     {image.timestamps[0]:.3f} to {image.timestamps[-1]:.3f} s")
    if breaks := sorted({*stack.breaks, *stack.cuts}):
        lines.append(f"breaks    {len(breaks)}, the first at frame {breaks[0]}")
    if stack.excluded:
        first = stack.excluded.runs[0][0]
        lines.append(f"excluded  {stack.excluded.count} frames, the first is frame {first}")
    if stack.headers:
        lines.append(f"headers   {', '.join(stack.headers)}")
    return lines + [f"note      {note}" for note in stack.notes]


def _scale(image: Image) -> str:
    scale = image.scale
    lengths = [
        ("z", scale.z, "um"),
        ("y", scale.y, "um"),
        ("x", scale.x, "um"),
        ("t", scale.t, "s"),
    ]
    known = [f"{axis} {value:.4g} {unit}" for axis, value, unit in lengths if value is not None]
    return ", ".join(known) or "unknown"


def _times(lengths: tuple[int, ...]) -> str:
    return " x ".join(map(str, lengths))
