"""Tables of what was measured, as text or Markdown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from bench_report import table
from quality_measures import Figures, NoiseCheck
from quality_methods import Method
from quality_verdicts import Measured, Verdict

MARKS = {True: "PASS", False: "SHORT", None: "n/a"}
Rows = list[list[str]]

#: heading, figure, what it is multiplied by, format; ``%`` where it is a part
COLUMNS: tuple[tuple[str, str, float, str], ...] = (
    ("SI-PSNR", "si_psnr", 1, ".2f"),
    ("planes", "planes", 1, ".2f"),
    ("pixels", "pixels", 1, ".3f"),
    ("regions", "regions", 1, ".3f"),
    ("ampl %", "amplitude", 100, ".1f"),
    ("leak %", "leakage", 100, ".1f"),
    ("change", "change", 1, "+.3f"),
    ("size", "change_size", 1, ".3f"),
    ("bias %", "bias", 100, "+.2f"),
    ("range %", "range_bias", 100, "+.1f"),
)
LEGEND = (
    "SI-PSNR: dB, one affine match for the recording; planes: dB, mean of planes matched by "
    "themselves; pixels, regions: correlation of their traces with the true ones; ampl: of events, "
    "of the true; leak: before onsets, of the peak; change, size: of the correlation of pairs of "
    "regions, mean and mean size; bias, range: of the light, in all and the largest in a range of "
    "intensity; flicker: of the raw movie's; ends: first and last frame over the others, dB; "
    "fit, all: seconds of our program; the fit of a single image is in all only"
)


def recording_rows(one: Measured, methods: Mapping[str, Method]) -> Rows:
    """A row for each method that was tried."""
    heads = [*(head for head, *_ in COLUMNS), "flicker", "ends", "fit s", "all s"]
    rows = [["method", *heads]]
    for key, found in one.figures.items():
        if found.missing:
            continue
        cells = [_cell(getattr(found, name), scale, form) for _, name, scale, form in COLUMNS]
        cells.append(_cell(one.times(key, "raw", "flicker"), 1, ".2f"))
        cells += [_ends(found), _cell(found.fit_seconds, 1, ".1f")]
        note = f" ({found.note})" if found.note else ""
        rows.append([methods[key].title + note, *cells, _cell(found.total_seconds, 1, ".1f")])
    return rows


def missing_lines(one: Measured, methods: Mapping[str, Method]) -> list[str]:
    """A line for each method without figures, and why."""
    missing = {key: found.missing for key, found in one.figures.items() if found.missing}
    return [f"n/a: {methods[key].title}: {why}" for key, why in missing.items()]


def aside(one: Measured, methods: Mapping[str, Method]) -> list[str]:
    """What is said below the table of a recording."""
    lines = (*missing_lines(one, methods), winner_line(one, methods), noise_line(one))
    return [line for line in lines if line]


def noise_line(one: Measured) -> str:
    """How well the noise was measured; nothing of recordings without a true one."""
    if one.noise is None:
        return f"noise: not measured: {one.noise_missing}" if one.noise_missing else ""
    return f"noise, measured (true): {_noise(one.noise)}"


def _noise(found: NoiseCheck) -> str:
    return (
        f"gain {found.gain:.4g} ({found.true_gain:.4g}), intercept {found.intercept:.4g} "
        f"({found.true_intercept:.4g} +- {found.allowed:.3g}), correlation in rows "
        f"{found.correlation:.3f} ({found.true_correlation:.3f}), in columns "
        f"{found.columns:.3f} (0)"
    )


def winner_line(one: Measured, methods: Mapping[str, Method]) -> str:
    """Whether the best of ours or a plain filter comes first, and by how much."""
    plain = _best(one, lambda method: method.is_plain, methods)
    ours = _best(one, lambda method: not method.is_plain and method.key != "raw", methods)
    if plain is None or ours is None:
        return ""
    lead = ours[0] - plain[0]
    names = methods[ours[1]].title, methods[plain[1]].title
    if lead < 0:
        return f"A PLAIN FILTER WINS: {names[1]}, {-lead:.2f} dB over the best of ours, {names[0]}"
    return f"best of ours: {names[0]}, {lead:.2f} dB over the best plain filter, {names[1]}"


def _best(
    one: Measured, chosen: Callable[[Method], bool], methods: Mapping[str, Method]
) -> tuple[float, str] | None:
    reached = [
        (found.si_psnr, key)
        for key, found in one.figures.items()
        if found.si_psnr is not None and chosen(methods[key])
    ]
    return max(reached, default=None)


def text_of(one: Measured, methods: Mapping[str, Method]) -> str:
    """One recording as text."""
    lines = [one.name, *(f"  {line}" for line in table(recording_rows(one, methods)))]
    return "\n".join([*lines, *(f"  {line}" for line in aside(one, methods)), ""])


def summary_text(found: Sequence[Verdict], plain: Sequence[str]) -> str:
    """The verdicts as text, and where plain filters win."""
    return "\n".join(["Must be reached", *table(verdict_rows(found)), "", plain_line(plain)])


def verdict_rows(found: Sequence[Verdict]) -> Rows:
    """A row for each verdict."""
    rows = [["requirement", "required", "found", "verdict", "short on"]]
    for one in found:
        short = ", ".join(one.short)
        rows.append([one.name, one.required, one.found, MARKS[one.reached], short])
    return rows


def plain_line(names: Sequence[str]) -> str:
    """Where plain filters win, in one line."""
    if not names:
        return "A plain filter wins nowhere."
    return f"A plain filter wins in SI-PSNR on {len(names)}: {', '.join(names)}"


def plain_wins(measured: Sequence[Measured], methods: Mapping[str, Method]) -> list[str]:
    """Recordings on which the best plain filter has the higher SI-PSNR."""
    return [one.name for one in measured if winner_line(one, methods).startswith("A PLAIN")]


def markdown(
    measured: Sequence[Measured], found: Sequence[Verdict], methods: Mapping[str, Method]
) -> str:
    """Everything as Markdown."""
    parts = ["# Quality", LEGEND]
    for one in measured:
        parts += [f"## {one.name}", _markdown_table(recording_rows(one, methods))]
        parts += aside(one, methods)
    parts += ["## Must be reached", _markdown_table(verdict_rows(found))]
    return "\n\n".join([*parts, plain_line(plain_wins(measured, methods))]) + "\n"


def _markdown_table(rows: Rows) -> str:
    head, *others = rows
    every = [head, ["---"] * len(head), *others]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in every)


def _cell(value: float | None, scale: float, form: str) -> str:
    return "" if value is None else format(value * scale, form)


def _ends(found: Figures) -> str:
    if found.first is None or found.last is None:
        return ""
    return f"{found.first:+.2f} {found.last:+.2f}"
