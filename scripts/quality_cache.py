"""Figures that do not follow from the program under work are kept from run to run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from quality_measures import Figures

HERE = Path(__file__).parent
#: What figures follow from, beside the recording and the method.
SOURCES = (
    *(HERE / f"quality_{name}.py" for name in ("filters", "gaussian", "measures", "recordings")),
    *sorted((HERE.parent / "fm2s_stack" / "metrics").glob("*.py")),
)


@dataclass(frozen=True)
class Kept:
    """Figures in a folder, each in a file named by the hash of what it follows from."""

    folder: Path  #: where they are
    fresh: bool = False  #: make all anew

    def figures(self, *parts: str, make: Callable[[], Figures]) -> tuple[Figures, bool]:
        """Those that are kept, or newly made and kept; and whether they were kept."""
        key = hashlib.sha256("\0".join((*parts, source_hash())).encode()).hexdigest()[:32]
        path = self.folder / f"figures-{key}.json"
        if path.is_file() and not self.fresh:
            return Figures.from_json(json.loads(path.read_text("utf-8"))), True
        made = make()
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(asdict(made), allow_nan=False), encoding="utf-8")
        partial.replace(path)
        return made, False


@cache
def source_hash() -> str:
    """Hash of the code that measures: what it changes is measured anew."""
    return hashlib.sha256(b"".join(path.read_bytes() for path in SOURCES)).hexdigest()
