"""Many recordings, each an output of its own: which there are, and one run after the other."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fm2s_stack.errors import (
    StackNotFound,
    StackUnreadable,
    StoppedEarly,
    UsageError,
)
from fm2s_stack.stack.inputs import image_suffix, is_zarr
from fm2s_stack.stack.numbering import natural_key
from fm2s_stack.store.failures import one_line

Part = tuple[int, int]  #: share i of n, i from 1 to n


@dataclass(frozen=True)
class Recording:
    """One input of a batch."""

    source: str  #: file or folder
    output: Path  #: what becomes of it


@dataclass(frozen=True)
class Failure:
    """A recording that could not be denoised."""

    recording: Recording
    reason: str  #: one line


def find_recordings(given: str, folder: str | Path, suffix: str = ".zarr") -> tuple[Recording, ...]:
    """The recordings that `given` names, in natural order, and where their outputs go.

    Parameters
    ----------
    given
        A quoted glob, a folder, or a ``.txt`` list with one path a line (relative to its own
        folder; lines that start with ``#`` are comments). Each match, image or zarr in the
        folder, or line is a recording of its own.
    folder
        Of the outputs.
    suffix
        Of the outputs: ``.zarr``, ``.tif`` or ``.png``.

    Raises
    ------
    StackNotFound
        If there is no recording, or one of a list is not there.
    StackUnreadable
        If a list is no UTF-8.
    UsageError
        If two recordings would get the same output, or the outputs would be inputs the next
        time.
    """
    sources = _sources(given)
    if not sources:
        raise StackNotFound(f"{given}: no recording there; give a quoted glob, a folder or a list")
    found = tuple(Recording(s, Path(folder) / f"{_stem(s)}{suffix}") for s in sources)
    _refuse_outputs_as_inputs(given, found[0].output)
    first: dict[str, str] = {}
    for recording in found:
        name = recording.output.name
        # Some file systems hold one of two names that differ in case alone.
        other = first.setdefault(name.casefold(), recording.source)
        if other != recording.source:
            raise UsageError(
                f"{given}: {other} and {recording.source} would both become {name}; rename one, "
                "or give them in two batches with a folder each"
            )
    return found


def share_of(recordings: Sequence[Recording], part: Part) -> tuple[Recording, ...]:
    """Share i of n: every n-th, so that long recordings that follow each other are spread.

    Raises
    ------
    UsageError
        If i is not 1 to n.
    """
    i, n = part
    if not 1 <= i <= n:
        raise UsageError(f"--part {i}/{n}: expected i/n with i from 1 to n, such as 1/4")
    return tuple(recordings[i - 1 :: n])


def run_batch(
    recordings: Sequence[Recording],
    run: Callable[[Recording], None],
    failed: Callable[[Failure], None],
    *,
    needed: Recording | None = None,
) -> tuple[Failure, ...]:
    """Run each recording; one that fails does not keep the others from being done.

    Parameters
    ----------
    recordings
        In the order they are run.
    run
        Denoises one; raises what went wrong.
    failed
        Told of a failure when it happens.
    needed
        Without which the others cannot be done: if it fails, they are not tried.

    Returns
    -------
    tuple
        What failed.

    Raises
    ------
    StoppedEarly
        If a run was asked to stop: the batch ends with it.
    """
    failures = []
    for recording in recordings:
        try:
            run(recording)
        except StoppedEarly:
            raise
        # Anything: a weekend's work is not to end because of one file that nobody foresaw.
        except Exception as error:
            failure = Failure(recording, one_line(error))
            failures.append(failure)
            failed(failure)
            if recording == needed:
                break
    return tuple(failures)


def _sources(given: str) -> list[str]:
    if not given:  # of an unset variable; as a path it would be the folder we are in
        raise UsageError("INPUTS is empty: name a quoted glob, a folder or a .txt list")
    path = Path(given)
    if path.is_dir() and not is_zarr(path):
        return _in_order(str(path / name) for name in os.listdir(path))  # noqa: PTH208 - names
    if path.suffix.lower() == ".txt" and path.is_file():
        return _listed(path)
    if path.exists():
        return [given]
    if glob.has_magic(given):
        return _in_order(glob.glob(given, recursive=True))  # noqa: PTH207 - absolute patterns too
    raise StackNotFound(f"{given}: no such file or folder; check the path")


def _in_order(paths: Iterable[str]) -> list[str]:
    """Images and zarr folders among `paths`."""
    return sorted((p for p in paths if _is_recording(Path(p))), key=natural_key)


def _is_recording(path: Path) -> bool:
    if path.name.startswith("."):
        return False
    return is_zarr(path) if path.is_dir() else image_suffix(path.name) is not None


def _listed(file: Path) -> list[str]:
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise StackUnreadable(f"{file}: not a UTF-8 list of paths ({error.reason})") from error
    wanted = [line.strip() for line in lines]
    paths = [str(file.parent / line) for line in wanted if line and not line.startswith("#")]
    for path in paths:
        if not Path(path).exists():
            raise StackNotFound(f"{file}: names {path}, which is not there")
    if len(set(paths)) < len(paths):
        twice = next(path for path in paths if paths.count(path) > 1)
        raise UsageError(f"{file}: names {twice} twice; a recording has one output")
    return paths


def _refuse_outputs_as_inputs(given: str, output: Path) -> None:
    to, of = output.absolute(), Path(given).absolute()
    is_matched = glob.has_magic(given) and to.match(str(of))
    if (of.is_dir() and to.parent == of) or is_matched:
        raise UsageError(
            f"{output.parent}: the outputs would be read as inputs {given} the next time; "
            "give another folder"
        )


def _stem(source: str) -> str:
    """The name of a recording without the endings that tell its format."""
    name = Path(source).name
    lower = name.lower()
    endings = (image_suffix(name) or "", ".ome.zarr", ".zarr", ".n5")
    ending = next((end for end in endings if end and lower.endswith(end)), "")
    return name[: len(name) - len(ending)] or name
