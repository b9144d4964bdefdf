"""Option values of our own: ranges, sizes, chunks, channels."""

from __future__ import annotations

import re

import click

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_BINARY = {"ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}


class Range(click.ParamType):
    """``a:b`` as a Python slice: from 0, end not included, either open or negative."""

    name = "a:b"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int | None, int | None]:
        """The two ends, None where open."""
        if isinstance(value, tuple):
            return value
        match = re.fullmatch(r"(-?\d+)?:(-?\d+)?", str(value).strip())
        if match is None:
            self.fail(f"{value!r} is not a:b, such as 0:1000, 500: or :-10", param, ctx)
        start, stop = (None if part is None else int(part) for part in match.groups())
        return start, stop


class Breaks(click.ParamType):
    """``0,500,1000``: first frames of trials."""

    name = "t,t,..."

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """The frames, ascending."""
        from fm2s_stack.stack.frame_list import require_ascending

        if isinstance(value, tuple):
            return value
        parts = [part.strip() for part in str(value).split(",")]
        if not all(re.fullmatch(r"-?[0-9]{1,18}", part) for part in parts):
            self.fail(f"{value!r} is not first frames of trials, such as 0,500,1000", param, ctx)
        frames = tuple(map(int, parts))
        require_ascending(frames)
        return frames


class Bytes(click.ParamType):
    """A size such as ``8GB``, ``512MiB`` or a number of bytes."""

    name = "size"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """Bytes."""
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?i?)b?", str(value).strip().lower())
        factor = {**_UNITS, **_BINARY}.get(match[2]) if match else None
        if match is None or factor is None or float(match[1]) == 0:
            self.fail(f"{value!r} is not a size, such as 8GB or 512MiB", param, ctx)
        return int(float(match[1]) * factor)


class Chunks(click.ParamType):
    """``planes,rows,columns`` of a chunk."""

    name = "n,y,x"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int, int]:
        """The three lengths."""
        if isinstance(value, tuple):
            return value
        parts = str(value).split(",")
        if len(parts) != 3 or not all(p.strip().isdecimal() and int(p) > 0 for p in parts):
            self.fail(f"{value!r} is not planes,rows,columns, such as 16,256,256", param, ctx)
        planes, rows, columns = (int(p) for p in parts)
        return planes, rows, columns


class Crop(click.ParamType):
    """The side of training crops, or ``full``."""

    name = "n|full"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | None:
        """Pixels; 0 stands for whole planes."""
        if isinstance(value, int):
            return value
        if str(value) == "full":
            return 0
        if not str(value).isdecimal() or int(str(value)) < 16:
            self.fail(f"{value!r} is neither full nor a side of 16 pixels or more", param, ctx)
        return int(str(value))


class Share(click.ParamType):
    """``i/n``: share i of n, from 1."""

    name = "i/n"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        """The two numbers."""
        if isinstance(value, tuple):
            return value
        match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", str(value))
        share, count = (int(match[1]), int(match[2])) if match else (0, 0)
        if not 1 <= share <= count:
            self.fail(f"{value!r} is not a share i/n with i from 1 to n, such as 3/16", param, ctx)
        return share, count


class Duration(click.ParamType):
    """A time such as ``3h50m``, ``90s`` or ``1d``."""

    name = "time"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Seconds."""
        if isinstance(value, int | float):
            return float(value)
        match = re.fullmatch(
            r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?", str(value).strip()
        )
        parts = [float(part or 0) for part in match.groups()] if match else []
        seconds = sum(n * s for n, s in zip(parts, (86400, 3600, 60, 1), strict=False))
        if not seconds:
            self.fail(f"{value!r} is not a time, such as 3h50m, 90s or 1d", param, ctx)
        return seconds
