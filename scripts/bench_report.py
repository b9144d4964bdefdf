"""The benchmark's document as text, and as rows for the README."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from bench_process import Result

GAP = "  "
MARKS = {True: "reached", False: "NOT REACHED", None: "-"}


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as aligned lines: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *others in rows:
        cells = [first.ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        lines.append(GAP.join(cells).rstrip())
    return lines


def text(document: Result) -> str:
    """Everything that was measured, in sections."""
    lines = list(_heading(document))
    for part, section in SECTIONS.items():
        found = document.get(part)
        if found is None:
            continue
        body = [f"failed: {found['failed']}"] if "failed" in found else section(found)
        lines += ["", TITLES[part], *(f"{GAP}{line}" for line in body)]
        lines += [f"{GAP}left out: {reason}" for reason in found.get("skipped", ())]
    return "\n".join([*lines, "", *_verdict_lines(document)])


def markdown(document: Result) -> str:
    """A row of the README's table, under its head. What was not measured is left blank."""
    machine, amounts = document["machine"], document["amounts"]
    place = machine["gpu"] or f"{machine['cpu']}, {_threads(machine)}"
    cells = {
        "machine": place,
        "movie": f"{amounts['main']} x {amounts['size']} x {amounts['size']}",
        "fit, s": _number(document, "main", "median", "fit_seconds"),
        "frames/s, disk to disk": _number(document, "main", "median", "frames_per_second"),
        "of the limit": _number(document, "limits", "ratio"),
        "network alone": _number(document, "limits", "network", "frames_per_second"),
        "copy alone": _number(document, "limits", "copy", "frames_per_second"),
        "peak, GB": _number(document, "main", "median", "peak_bytes", scale=1e-9),
        "on the GPU, GB": _number(document, "main", "median", "device_bytes", scale=1e-9),
        "`--fit frame`, s a plane": _number(document, "frame", "seconds_per_plane"),
        "times faster than published": _number(document, "frame", "times_faster"),
        "command": f"`{document['command']}`",
    }
    rows = list(cells), ["---"] * len(cells), list(cells.values())
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _heading(document: Result) -> Iterator[str]:
    machine = document["machine"]
    ram = f", {machine['ram_bytes'] / 1e9:.0f} GB" if machine["ram_bytes"] else ""
    where = machine["gpu"] or _threads(machine)
    yield document["command"]
    yield f"{machine['cpu']}, {machine['cores']} cores{ram}; computed on {where}"
    yield (
        f"fm2s-stack {machine['fm2s_stack']}, torch {machine['torch']}, "
        f"Python {machine['python']}, {machine['system']}"
    )
    yield from document["notes"]


def _main(found: Result) -> list[str]:
    median = found["median"]
    steps = ("start", "open", "fit", "apply", "seal", "total")
    rows = [["step", "s"], *([step, f"{median[f'{step}_seconds']:.3f}"] for step in steps)]
    return [
        *table(rows),
        f"{found['frames']} frames, median of {len(found['rounds'])} runs; of the fit, training "
        f"alone {median['training_seconds']:.3f} s",
        f"{median['frames_per_second']:.2f} frames/s disk to disk (apply and write)",
        f"memory: peak {_gb(median['peak_bytes'])}, projected {_gb(median['projected_bytes'])}, "
        f"on the GPU {_gb(median['device_bytes'])}",
    ]


def _limits(found: Result) -> list[str]:
    disk = [one["disk_frames_per_second"] for one in found["rounds"]]
    names = {"network": "network, frames in memory", "copy": "read and write, no denoising"}
    rows = [["", "frames/s", "threads"]]
    for name, words in names.items():
        rate = found[name]
        rows.append([words, f"{rate['frames_per_second']:.2f}", str(rate["threads"])])
    each = ", ".join(f"{one['ratio']:.3f}" for one in found["rounds"])
    return [
        *table(rows),
        f"disk to disk {', '.join(f'{rate:.2f}' for rate in disk)} frames/s in the same rounds",
        f"disk to disk over the slower limit ({found['slower']}): {found['ratio']:.3f} ({each})",
    ]


def _others(found: Result) -> list[str]:
    rows = [["method, one thread", "s a frame", "SI-PSNR, dB", "frames", "fit apart, s"]]
    for row in found["rows"]:
        seconds, fit = row["seconds_per_frame"], row["fit_seconds"]
        rows.append([
            row["name"],
            "" if seconds is None else f"{seconds:.4f}",
            f"{row['si_psnr']:.2f}",
            str(row["frames"]),
            "" if fit is None else f"{fit:.2f}",
        ])  # fmt: skip
    return table(rows)


def _growth(found: Result) -> list[str]:
    keys = ("open_seconds", "fit_seconds", "apply_seconds", "seal_seconds")
    rows = [
        ["frames", "open, s", "fit, s", "apply, s", "seal, s", "ms a frame", "peak", "projected"]
    ]
    for row in found["rows"]:
        rows.append([
            str(row["frames"]),
            *(f"{row[key]:.3f}" for key in keys),
            f"{1e3 * row['seconds_per_frame']:.2f}",
            _gb(row["peak_bytes"]),
            _gb(row["projected_bytes"]),
        ])  # fmt: skip
    change = found["peak_change"]
    told = "" if change is None else f", its peak memory differs by {100 * change:.1f} %"
    return [
        *table(rows),
        f"a frame of the longest takes {found['time_ratio']:.3f} times as long{told}",
    ]


def _frame(found: Result) -> list[str]:
    lines = [
        f"--fit frame: {found['seconds_per_plane']:.3f} s a plane "
        f"({found['planes_per_second']:.2f} planes/s over {found['planes']})",
        f"as published (--fit-crop full): {found['published_seconds']:.1f} s, from "
        f"{found['published_draws']} timed draws without preparation and stage one",
        f"times faster, median of {len(found['rounds'])} rounds: {found['times_faster']:.1f}",
    ]
    rows = [["image", "SI-PSNR, dB", "published", "below", "seeds"]]
    for name, row in found["images"].items():
        seeds = " ".join(map(str, row["seeds"]))
        figures = (f"{row[key]:.2f}" for key in ("mean", "published", "below"))
        rows.append([name, *figures, seeds])
    return [*lines, *(table(rows) if found["images"] else [])]


def _start(found: Result) -> list[str]:
    return [
        f"--help {found['help_seconds']:.3f} s; info on {found['pages']} pages "
        f"{found['info_seconds']:.3f} s, the first time {found['first_info_seconds']:.3f} s "
        f"(whole processes, median of {found['times']})"
    ]


def _verdict_lines(document: Result) -> list[str]:
    rows = [["must reach", "required", "found", ""]]
    for verdict in document["verdicts"]:
        mark = MARKS[verdict["reached"]]
        rows.append([verdict["name"], verdict["required"], verdict["found"], mark])
    return table(rows)


def _threads(machine: Result) -> str:
    count = machine["threads"]
    return f"{count} thread{'s' * (count > 1)}"


def _gb(count: float | None) -> str:
    return "-" if count is None else f"{count / 1e9:.3f} GB"


def _at(document: Result, *keys: str) -> object:
    found: object = document
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    return "" if found is None else found


def _number(document: Result, *keys: str, scale: float = 1.0) -> str:
    found = _at(document, *keys)
    return f"{found * scale:.3g}" if isinstance(found, (int, float)) else ""


TITLES = {
    "main": "Disk to disk",
    "limits": "Limits",
    "others": "Other methods",
    "growth": "Growth",
    "frame": "One network a plane",
    "start": "Start",
}
SECTIONS: dict[str, Callable[[Result], list[str]]] = {
    "main": _main,
    "limits": _limits,
    "others": _others,
    "growth": _growth,
    "frame": _frame,
    "start": _start,
}
