"""Packing work for other processes, which may have another working directory."""

from __future__ import annotations

import io
import os
from dataclasses import replace
from pathlib import PurePath
from typing import Any

import cloudpickle  # type: ignore[import-untyped]

from fm2s_stack.store.journal import Journal
from fm2s_stack.store.omezarr import OutputLayout

# Fields that are paths as texts; readers of inputs hold absolute ones, or `pathlib` paths.
_PATHS: dict[type, str] = {Journal: "folder", OutputLayout: "path"}


def pack(content: object) -> bytes:
    """Pickle something for processes that see the same files: relative paths turn absolute."""
    packed = io.BytesIO()
    _Packer(packed).dump(content)
    return packed.getvalue()


class _Packer(cloudpickle.Pickler):  # type: ignore[misc]
    def reducer_override(self, obj: Any) -> Any:  # noqa: ANN401 - as pickle has it
        """As `pickle.Pickler.reducer_override`."""
        if isinstance(obj, PurePath):
            return type(obj), (os.path.abspath(obj),)  # noqa: PTH100 - a PurePath cannot tell
        field = _PATHS.get(type(obj))
        if field is not None:
            whole = os.path.abspath(getattr(obj, field))  # noqa: PTH100 - texts
            return replace(obj, **{field: whole}).__reduce_ex__(4)
        return super().reducer_override(obj)
