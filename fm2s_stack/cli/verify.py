"""``fm2s-stack verify``."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fm2s_stack.cli.options import add_options
from fm2s_stack.cli.show import Show, size
from fm2s_stack.cli.signals import stop_on_signals
from fm2s_stack.settings import RunSettings
from fm2s_stack.stopping import Stop

if TYPE_CHECKING:
    from fm2s_stack.check.findings import Plane, Report, SourceCheck
    from fm2s_stack.check.repair import Repaired

OPTIONS = (
    click.option("--source", metavar="INPUT",
                 help="Compare with every pixel of the input too; compute some planes again."),
    click.option("--planes", type=click.IntRange(min=0), default=4, show_default=True,
                 help="Random planes to compute, each in every channel."),
    click.option("--seed", type=click.IntRange(min=0),
                 help="They are drawn with  [default: another one each time]"),
    click.option("--repair", is_flag=True,
                 help="Put back what is damaged; units need --source, and are computed again."),
    click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N."),
    click.option("--threads", type=click.IntRange(min=1),
                 help="Planes computed at a time on the CPU  [default: the cores given to us]"),
    click.option("--cache-dir", type=click.Path(file_okay=False, path_type=Path),
                 help="Folder of page tables  [default: the user's cache folder]"),
    click.option("--quiet", is_flag=True, help="Show no progress."),
    click.option("--json", "as_json", is_flag=True, help="Print JSON."),
)  # fmt: skip


@click.command(name="verify")
@click.argument("output", type=click.Path(path_type=Path))
@add_options(OPTIONS)
def command(output: Path, **options: Any) -> None:  # noqa: ANN401
    """Check every stored byte of OUTPUT against its checksum; say what is damaged.

    Exits with 0 where all is good, with 1 where something is damaged, with 75 where an output
    is good as far as it goes but not complete.

    \b
    fm2s-stack verify out.zarr
    fm2s-stack verify out.zarr --source movie.tif
    fm2s-stack verify out.zarr --source movie.tif --repair
    """  # noqa: D301 - click wants the character
    stop = Stop()
    with stop_on_signals(stop):
        report, repaired = _verify(output, options, stop)
    if options["as_json"]:
        done = None if repaired is None else asdict(repaired)
        told = {"good": report.is_good, **asdict(report), "repaired": done}
        click.echo(json.dumps(told, indent=2))
    else:
        lines = [*_repair_lines(output, repaired), *_lines(output, report)]
        click.echo("\n".join(lines))
    sys.exit(report.exit_code)


def _verify(output: Path, options: dict[str, Any], stop: Stop) -> tuple[Report, Repaired | None]:
    from fm2s_stack.check.verify import verify_output

    source = options["source"]
    how: dict[str, Any] = {
        "run": RunSettings(device=options["device"], threads=options["threads"]),
        "cache_dir": options["cache_dir"],
        "progress": None if options["quiet"] else Show(),
        "stop": stop,
    }
    planes: dict[str, Any] = {"planes": options["planes"], "seed": options["seed"]}
    report = verify_output(output, source, **planes, **how)
    if not options["repair"] or not (report.damages or report.state != "complete"):
        return report, None
    from fm2s_stack.check.repair import repair_output

    repaired = repair_output(output, source, **how)
    return verify_output(output, source, **planes, **how), repaired


def _repair_lines(output: Path, repaired: Repaired | None) -> list[str]:
    if repaired is None:
        return []
    lines = [f"{output}: {damage.text}: repaired" for damage in repaired.damages]
    if repaired.units:
        same = (
            "every byte is what was sealed"
            if repaired.identical
            else "sealed anew: their bytes are not those of an earlier seal"
        )
        lines.append(f"{output}: units computed: {repaired.units}; {same}")
    return lines


def _lines(output: Path, report: Report) -> list[str]:
    lines = [f"{output}: {damage.text}" for damage in report.damages]
    lines.append(f"{output}: {_verdict(report)}")
    if report.unchecked:
        lines.append(f"{output}: not checked: {report.unchecked}")
    if report.source is not None:
        lines += _source_lines(report.source)
    return lines


def _verdict(report: Report) -> str:
    files = f"{report.files} file{'s' * (report.files != 1)}, {size(report.bytes)}"
    units = f", {report.units} unit{'s' * (report.units != 1)}" if report.units else ""
    left = "" if report.state == "complete" else _left(report)
    if not report.damages:
        good = "as they were written" if report.files != 1 else "as it was written"
        return f"{files}{units}: {good}{left}"
    pieces = len(report.damages)
    what = f"{pieces} piece{'s are' if pieces > 1 else ' is'} damaged"
    how = _remedy(report)
    return f"{what}, of {files}{units}; {how}{left}"


def _remedy(report: Report) -> str:
    if not report.damages[0].key:
        return "make it again from the input"
    has_units = any(damage.unit is not None for damage in report.damages)
    return "repair with --repair" + " and --source INPUT" * has_units


def _left(report: Report) -> str:
    if report.state == "unprepared":
        return "; nothing is computed yet: run the command that makes it"
    return (
        f"; incomplete, {report.units_left} units are left: run the command that makes it again, "
        "which continues it"
    )


def _source_lines(found: SourceCheck) -> list[str]:
    if found.differs:
        return [f"{found.name} {found.differs}"]
    lines = [*_unit_lines(found)]
    if found.skipped:
        return [*lines, f"no plane was computed again: {found.skipped}"]
    for plane in found.planes:
        if not plane.is_good:
            lines.append(f"frame {plane.t}, channel {plane.c}, slice {plane.z}: {_differs(plane)}")
    if found.planes:
        lines.append(_agreement(found))
    return lines


def _unit_lines(found: SourceCheck) -> list[str]:
    """What of the input was compared, and what of it differs."""
    same = f"{found.name} has the size, page table and sampled bytes of what the output was made of"
    if not found.units:
        return [f"{same}; its other pixels were not compared"]
    unlike = len(found.units_unlike)
    units = f"{found.units - unlike} of {found.units} unit{'s' * (found.units != 1)}"
    lines = [f"{place} of {found.name}: not the pixels that the output was made of (CRC-32 differs)"
             for place in found.units_unlike]  # fmt: skip
    return [*lines, f"{same}; every pixel that {units} read is the same (CRC-32)"]


def _differs(plane: Plane) -> str:
    if plane.difference is None:
        return "NaN or infinity where the other has something else"
    expected = "none" if plane.allowed == 0 else f"at most {plane.allowed:g}"
    hint = "; other pixels, or another kind of processor" if plane.allowed == 0 else ""
    return (
        f"differs by up to {plane.difference:g} grey levels from what {plane.computed_on} gives, "
        f"expected {expected}{hint}"
    )


def _agreement(found: SourceCheck) -> str:
    """How the planes that agree do so."""
    good = [plane for plane in found.planes if plane.is_good]
    exact = sum(plane.difference == 0 for plane in good)
    where = f"{', '.join(sorted({plane.computed_on for plane in found.planes}))}"
    made = f"{', '.join(sorted({plane.made_on for plane in found.planes}))}"
    near = max((plane.difference or 0 for plane in good), default=0)
    rest = f", {len(good) - exact} to {near:g} grey levels" if len(good) > exact else ""
    return (
        f"{len(found.planes)} planes computed again on {where} (made on {made}; --seed "
        f"{found.seed}): {exact} equal to the last bit{rest}"
    )
