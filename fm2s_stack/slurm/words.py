"""Words for bash and for SLURM: quoting, times and sizes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from fm2s_stack.errors import UsageError

_TIME = re.compile(r"(?:(?P<days>\d+)-)?(?P<rest>\d+(?::\d+){0,2})")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\udc80-\udcff]")


def bash_word(word: str) -> str:
    """A word as bash reads it back, whatever is in it, on one line.

    Names that are no UTF-8 come as Python holds them (PEP 383) and go as their bytes.
    """
    if not _CONTROL.search(word):
        return shlex.quote(word)
    plain = word.replace("\\", "\\\\").replace("'", "\\'")
    return "$'" + _CONTROL.sub(_as_bytes, plain) + "'"


def bash_command(words: list[str]) -> str:
    """A command over several lines, an argument a line."""
    program, *rest = [bash_word(word) for word in words]
    return " \\\n  ".join([program, *rest])


def directive(option: str, value: str) -> str:
    """An ``#SBATCH`` line.

    SLURM reads the quotes and backslashes of a value as a shell would; a line ends it.

    Raises
    ------
    UsageError
        If the value has a line break or another control character.
    """
    if _CONTROL.search(value):
        raise UsageError(
            f"--{option} {value!r}: SLURM takes one line of text, without control characters"
        )
    if re.fullmatch(r"[\w@%+=:,./\[\]-]+", value):
        return f"#SBATCH --{option}={value}"
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'#SBATCH --{option}="{escaped}"'


def log_pattern(folder: Path, name: str) -> str:
    """The value of ``--output`` for a file in a folder; `name` has SLURM's ``%j`` and the like.

    Raises
    ------
    UsageError
        If the folder has a backslash in its name: SLURM then fills in no number at all
        (sbatch(1), filename pattern).
    """
    if "\\" in str(folder):
        raise UsageError(f"{folder}: SLURM's logs cannot lie below a name with a backslash")
    return f"{str(folder).replace('%', '%%')}/{name}"


def seconds_of(time: str) -> int:
    """Seconds of a time as SLURM writes it (sbatch(1), --time).

    ``minutes``, ``minutes:seconds``, ``hours:minutes:seconds``, ``days-hours``,
    ``days-hours:minutes`` or ``days-hours:minutes:seconds``.

    Raises
    ------
    UsageError
        If it is none of these, or zero.
    """
    match = _TIME.fullmatch(time.strip())
    if match is None:
        raise UsageError(f"--time {time}: expected one of SLURM's forms, such as 4:00:00 or 1-12")
    parts = [int(part) for part in match["rest"].split(":")]
    if match["days"] is not None:
        hours, minutes, seconds = [*parts, 0, 0][:3]
    elif len(parts) == 3:
        hours, minutes, seconds = parts
    else:
        hours, (minutes, seconds) = 0, [*parts, 0][:2]
    total = ((int(match["days"] or 0) * 24 + hours) * 60 + minutes) * 60 + seconds
    if total < 60:
        raise UsageError(f"--time {time}: expected a minute or more")
    return total


def gibibytes(count: float) -> str:
    """Bytes as SLURM takes them, rounded up: ``12G``."""
    return f"{max(1, -int(-count // 2**30))}G"


def _as_bytes(match: re.Match[str]) -> str:
    raw = match[0].encode("utf-8", "surrogateescape")
    return "".join(f"\\x{byte:02x}" for byte in raw)
