"""Looking at the workers of a cluster before they get any work."""

from __future__ import annotations

import os
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import combinations
from pathlib import Path
from typing import TypeVar

import numpy as np

from fm2s_stack.engine.crew import GPU, PATIENCE, POLL, Crew, Member
from fm2s_stack.engine.shipping import pack
from fm2s_stack.engine.worker import About, Question, about, answer, digests, versions
from fm2s_stack.errors import ClusterError, OutputError
from fm2s_stack.progress import Progress
from fm2s_stack.stack.base import Stack
from fm2s_stack.stack.reading import Place

T = TypeVar("T")

PROBED_PLANES = 4
SAFE_SHARE = 0.75  #: of a worker's memory limit; above 0.8 it would be paused, above 0.95 killed
PATIENT = 300.0  #: seconds that a worker has to answer: importing torch from afar takes long


def await_workers(crew: Crew, count: int, told: Progress, check: Callable[[], None]) -> None:
    """Wait until so many workers are there; at least one after a minute.

    Raises
    ------
    ClusterError
        If there is none.
    """
    wishes = []
    if not crew.members:
        told.note(f"waiting for workers of {crew.place}")
        # A task is what adaptive clusters start workers for; those may not have our package yet.
        wishes.append(crew.client.submit(os.getpid, pure=False))
    end = time.monotonic() + PATIENCE
    while len(crew.members) < count and time.monotonic() < end:
        check()
        time.sleep(POLL)
    wishes.clear()
    if not crew.members:
        raise ClusterError(
            f"{crew.place} has no worker, after {PATIENCE:.0f} s of waiting; start some with "
            "dask worker ADDRESS"
        )


def choose_device(crew: Crew, wanted: str) -> str:
    """The kind of device: a GPU where workers declare one, unless the CPU is asked for.

    Raises
    ------
    ClusterError
        If a GPU is asked for and no worker declares one: a task would wait for ever.
    """
    declared = any(member.gpu_slots for member in crew.members)
    if wanted == "cuda" and not declared:
        raise ClusterError(
            f"--device cuda: {crew.members[0].text} and the others of {crew.place} declare no "
            f"resource {GPU}; start one worker for each GPU, with its own CUDA_VISIBLE_DEVICES: "
            f"dask worker ADDRESS --nthreads 4 --resources {GPU}=4"
        )
    return "cuda" if declared and wanted != "cpu" else "cpu"


def inspect(
    crew: Crew, stack: Stack, folder: Path | None, told: Progress, check: Callable[[], None]
) -> Mapping[Member, About]:
    """Look at every worker that takes part.

    Its versions must be ours, and it must read the same pixels from the input and write where
    we see it.

    Returns
    -------
    mapping
        What each tells of itself.

    Raises
    ------
    ClusterError
        Naming the worker, and what to do.
    """
    members = crew.members
    for member, version in crew.run_each(members, _version_teller()).items():
        _require_versions(member, {"fm2s-stack": str(version)})
    found = crew.ask_each(members, about, crew.device, check, PATIENT)
    for member, mine in found.items():
        _require_versions(member, _answered(member, mine).versions)
    _note_shared_gpus(found, told)
    with _question(stack, folder) as question:
        packed = pack(question)
        for member, answered in crew.ask_each(members, answer, packed, check, PATIENT).items():
            _require_access(member, _answered(member, answered), folder)
    return found


def free_memory(found: Mapping[Member, About]) -> int:
    """Bytes that any of the workers may use: those of a machine share what it has."""
    crowd = Counter(mine.host for mine in found.values())
    return min(
        min(mine.memory // crowd[mine.host], int(member.memory * SAFE_SHARE) or mine.memory)
        for member, mine in found.items()
    )


def _version_teller() -> Callable[[], str]:
    """What tells the version of a worker's package; it is sent whole.

    A worker that is sent a task of a package it has not got ends at once (seen with
    distributed 2026.8: its stream of messages cannot be read on), so this comes first.
    """

    def version() -> str:
        from importlib.util import find_spec

        try:
            from fm2s_stack import __version__

            return __version__ if find_spec("fm2s_stack.engine.worker") else "an older one"
        except ImportError:
            return "not installed"

    return version


def _require_versions(member: Member, found: Mapping[str, str]) -> None:
    wanted = versions()
    other = [name for name, told in found.items() if told != wanted[name]]
    if other:
        told = ", ".join(f"{name} is {found[name]} there and {wanted[name]} here" for name in other)
        raise ClusterError(
            f"{member.text} cannot take part: {told}; install the same versions on all workers "
            "and here"
        )


def _answered(member: Member, found: T | Exception) -> T:
    if isinstance(found, Exception):
        raise ClusterError(f"{member.text} failed when it was tried: {found}") from found
    return found


def _require_access(member: Member, found: tuple[str, str | None], folder: Path | None) -> None:
    complaint, file = found
    if not complaint and file is not None and folder is not None:
        written = folder / file
        if not written.is_file():
            complaint = f"writes to another {folder} than this process"
        written.unlink(missing_ok=True)
    if complaint:
        raise ClusterError(
            f"{member.text} {complaint}; input and output must be on storage that all workers "
            "share, under the same paths"
        )


def _note_shared_gpus(found: Mapping[Member, About], told: Progress) -> None:
    for (one, a), (other, b) in combinations(found.items(), 2):
        if a.gpu is not None and (a.host, a.gpu) == (b.host, b.gpu):
            told.note(
                f"{one.text} and {other.text} share a GPU: give each its own CUDA_VISIBLE_DEVICES"
            )


@contextmanager
def _question(stack: Stack, folder: Path | None) -> Iterator[Question]:
    """A question, with the file in the folder that it is about."""
    places, nonce = _spread(stack), uuid.uuid4().hex
    pixels = digests(stack, places)
    if folder is None:
        yield Question(stack, places, pixels, None, nonce)
        return
    file = folder / f"probe-{nonce}.json"
    try:
        file.write_text("{}", encoding="ascii")
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {error}") from error
    try:
        yield Question(stack, places, pixels, folder, nonce)
    finally:
        file.unlink(missing_ok=True)


def _spread(stack: Stack) -> tuple[Place, ...]:
    """A few planes from the first to the last; indices into the stack."""
    shape = stack.array.shape[:3]
    flat = np.linspace(0, np.prod(shape) - 1, PROBED_PLANES).astype(int)
    places = [np.unravel_index(index, shape) for index in sorted(set(flat.tolist()))]
    return tuple((int(t), int(c), int(z)) for t, c, z in places)
