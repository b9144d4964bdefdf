"""The attribute ``fm2s_stack``: what made an output, key by key, with nothing private in it.

It is written in two parts: `describe_job` when the output is created (what was asked), and
`describe_result` when it is sealed (what happened). `KEYS` documents every key.
"""

from __future__ import annotations

import dataclasses
import math
import platform
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike

SCHEMA_VERSION = 1
Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

KEYS: Mapping[str, str] = {
    "schema_version": "number of this table; raised when a key changes its meaning",
    "status": "'incomplete' until the seal, then 'complete'",
    "started": "when the output was created, UTC, ISO 8601",
    "finished": "when the output was sealed, UTC, ISO 8601",
    "command": "command line, paths cut to their last part and secrets masked; [] for the library",
    "versions": "versions of this package, of Python and of the libraries that touch pixels",
    "pixel_version": "number of the arithmetic; another one gives other pixels",
    "source": "identity of the input: name, size in bytes, mtime in s since 1970, digest",
    "selection": "what was read: format, options, frames, slices, channels, breaks of the input,"
    " cuts of --breaks, excluded frames as [first, one past the last], notes",
    "settings": "fit, write and run settings as used",
    "seed": "what every random stream is derived from",
    "preset": "noise parameters trained against; of -c auto its neighbours",
    "intensity": "affine intensity map of each channel",
    "noise": "noise of each channel as measured for -c auto, null for presets and channels of one"
    " value: gain, intercept, autocorrelation, their errors, and what they were measured on",
    "photometry": "of each channel of -c auto with neighbours, else null: what was added to the"
    " denoised mean (shifts) by its grey level (levels), and how each network's results heed the"
    " planes themselves (heed): half of a change of heed**-0.5 deviations of the noise",
    "weights_sha256": "sha256 of the stored weights, little-endian float32 in C order",
    "device": "kinds of device that computed: 'cpu', 'cuda', or both",
    "timings": "seconds of the fit, and of all units together (apply)",
    "loss": "last training loss of each network, shape (t windows, channels, z windows); null for"
    " over 1,000 networks, whose losses the array fm2s_stack/loss has",
    "clipped": "pixels that were clipped to the range of the output's dtype",
    "bad_frames": "planes that could not be read and were made up: how many (count), and the first"
    " 1,000: frame, channel, slice in the source, axis, planes they were made of, reason",
    "trust": "what measures without truth say of the result, a line for each channel; null where"
    " the input was not at hand at the seal",
    "terms": "all that decides pixels and files; only a run with the same continues the output",
    "token": "name of the job: a hash of the terms and the networks; set when they are stored",
    "plan": "how the output was cut: stack axis, planes, rows and columns of a unit, units",
    "units": "number of units; the array fm2s_stack/units has a row of JSON for each: index, box,"
    " device kind, seconds, clipped pixels, display range, files with size and CRC-32",
    "files": "every other file of the output but this one: key, size, CRC-32",
    "checksum": "crc32c of this file's JSON with sorted keys, without this key",
}

LOSSES_TOLD = 1000  # a JSON of 100,000 would slow every reader of the attribute
BAD_FRAMES_TOLD = 1000  # the same; the table of units has all

_PACKAGES = [
    "fm2s-stack",
    "numpy",
    "torch",
    "zarr",
    "numcodecs",
    "dask",
    "ome-zarr",
    "tifffile",
    "imagecodecs",
    "scipy",
]
_SECRET = re.compile(
    r"(?i)^(-*[\w.-]*(?:password|passwd|token|secret|credential|key)[\w.-]*)(?:=(.*))?$", re.DOTALL
)
_URL_USER = re.compile(r"(\w+://)[^/@\s]+@")
_SEPARATORS = "/\\"
# What holds a slash and is no path: addresses, and shares such as 3/16.
_NO_PATH = re.compile(r"(?!file:)\w[\w+.-]*://|\d+/\d+$")
_OPTION = re.compile(r"--?[\w-]+=|-[A-Za-z](?=.*[/\\])")
_HOMES = (
    # A folder name may hold spaces only where a separator shows where it ends.
    re.compile(r"[A-Za-z]:[\\/]+Users[\\/]+[^\\/:*?\"<>|\r\n]+(?=[\\/])", re.IGNORECASE),
    re.compile(r"[A-Za-z]:[\\/]+Users[\\/]+[^\\/:*?\"<>|\s]+", re.IGNORECASE),
    re.compile(r"(?<![\w.])/(?:home|Users)/[^/\s\"'<>:;,]+"),
)


def describe_job(
    *,
    command: Sequence[str],
    pixel_version: int,
    source: object,
    selection: object,
    settings: object,
    seed: int,
    preset: object,
) -> dict[str, Json]:
    """Keys known before the first pixel; see `KEYS`.

    Parameters
    ----------
    command
        The words of the command line, the program first; empty if the library was called.
    pixel_version
        Number of the arithmetic, `fm2s_stack.settings.PIXEL_VERSION`.
    source, selection, settings, preset
        Mappings or dataclasses, stored as JSON.
    seed
        Of the run.

    Returns
    -------
    dict
        JSON-safe, home folders and secrets removed, for `create_output`.
    """
    parts = {
        "started": _now(),
        "command": redact_command(command),
        "versions": package_versions(),
        "pixel_version": pixel_version,
        "source": source,
        "selection": selection,
        "settings": settings,
        "seed": seed,
        "preset": preset,
    }
    return {key: jsonable(value) for key, value in parts.items()}


def describe_result(
    *,
    weights_sha256: str,
    device: str,
    timings: Mapping[str, float],
    loss: ArrayLike,
    clipped: int,
    units: int,
    bad_frames: Sequence[object] = (),
    trust: Sequence[str] = (),
    files: Sequence[object] = (),
) -> dict[str, Json]:
    """Keys known when the last unit is written; see `KEYS`.

    Parameters
    ----------
    weights_sha256
        As `fm2s_stack.store.weights.stored_weights_sha256` gives it.
    device
        Kind of device.
    timings
        Seconds of each step.
    loss
        Numbers or array of them; NaN is stored as null, and so are all if over 1,000.
    clipped
        Pixels clipped, over the whole output.
    units
        How many there are.
    bad_frames
        Mapping or dataclass of each plane that could not be read and was made up.
    trust
        Lines that say whether the result can be trusted; empty: nobody does.
    files
        Key, size and CRC-32 of each file that is no unit's.

    Returns
    -------
    dict
        JSON-safe, for `seal`.
    """
    parts = {
        "weights_sha256": weights_sha256,
        "device": device,
        "timings": timings,
        "loss": loss if np.size(loss) <= LOSSES_TOLD else None,
        "clipped": clipped,
        "bad_frames": {"count": len(bad_frames), "first": list(bad_frames[:BAD_FRAMES_TOLD])},
        "trust": list(trust) or None,
        "units": units,
        "files": files,
        "finished": _now(),
    }
    return {key: jsonable(value) for key, value in parts.items()}


def package_versions() -> dict[str, str]:
    """Versions of Python, of this package and of the installed libraries that touch pixels."""
    versions = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def redact_command(words: Sequence[str]) -> list[str]:
    """A command line without folders, passwords, tokens, keys or user names.

    Paths, absolute or not, become their last part; the value of an option whose name has
    ``password``, ``token``, ``secret``, ``credential`` or ``key`` in it becomes ``***``.
    """
    redacted: list[str] = []
    mask_next = False
    for word in words:
        secret = _SECRET.match(word)
        if mask_next and not word.startswith("--"):
            redacted.append("***")
        elif secret and secret[2] is not None:
            redacted.append(f"{secret[1]}=***")
        else:
            redacted.append(_redact_word(word))
        mask_next = bool(secret and secret[2] is None and word.startswith("-"))
    return redacted


def redact_text(text: str) -> str:
    """Text with home folders as ``~`` and the user part of addresses as ``***``."""
    for pattern in _HOMES:
        text = pattern.sub("~", text)
    home = str(Path.home())
    if len(home) > 1:
        text = re.sub(re.escape(home) + r"(?![\w.-])", "~", text)
    return _URL_USER.sub(r"\1***@", text)


def jsonable(value: object) -> Json:
    """The same value as JSON can hold it.

    Dataclasses become mappings; tuples, sets and arrays lists; paths, dtypes and whatever is
    unknown text; NaN and infinity null. Texts pass `redact_text`.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        return {field.name: jsonable(getattr(value, field.name)) for field in fields}
    if isinstance(value, Mapping):
        return {redact_text(str(key)): jsonable(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return jsonable(value.tolist())
    if isinstance(value, list | tuple | range):
        return [jsonable(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted((jsonable(item) for item in value), key=str)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int):
        return value
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return redact_text(text)


def _redact_word(word: str) -> str:
    named = _OPTION.match(word)
    option = named[0] if named else ""
    return redact_text(option + _last_part(word.removeprefix(option)))


def _last_part(word: str) -> str:
    if _NO_PATH.match(word):
        return word
    # Backslashes on any system: the command may have been written on another one.
    return re.split(r"[/\\]", word.rstrip(_SEPARATORS))[-1]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
