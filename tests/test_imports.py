"""Imports point down the table of the architecture, and importing the package is light."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "fm2s_stack"

# Lower rows may not import higher ones. `stack`, `fm2s` and `store` share a row and may
# not import each other; the parts of the other rows may.
ROWS = (
    ("errors", "image", "settings", "metrics", "memory", "progress", "stopping"),
    ("plan",),
    ("stack", "fm2s", "store", "noise_model"),
    ("auto", "plane"),
    ("engine",),
    ("job",),
    ("pipeline",),
    ("check", "batch", "slurm", "preview"),
    ("report", "simulate"),
    ("cli", "__main__"),
)
RANK = {part: row for row, parts in enumerate(ROWS) for part in parts}
STRANGERS = {"stack", "fm2s", "store", "noise_model"}
HEAVY = {"torch", "dask", "zarr", "ome_zarr", "tifffile", "imagecodecs", "scipy", "PIL"}


def modules() -> list[Path]:
    return [
        path
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.parent != PACKAGE or path.stem != "__init__"
    ]


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_modules(source: str, package: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) + 1 - node.level]
            module = ".".join(filter(None, [*(above if node.level else []), node.module]))
            yield from (f"{module}.{alias.name}" for alias in node.names)


def imported_parts(path: Path) -> set[str]:
    package = ".".join(["fm2s_stack", *path.relative_to(PACKAGE).parts[:-1]])
    names = (name.split(".") for name in imported_modules(path.read_text("utf-8"), package))
    return {name[1] for name in names if name[0] == "fm2s_stack" and len(name) > 1}


def offences(importer: str, imported: set[str]) -> list[str]:
    return [
        part
        for part in sorted(imported & RANK.keys() - {importer})
        if RANK[part] > RANK[importer] or {part, importer} <= STRANGERS
    ]


def test_every_part_of_the_package_has_a_row() -> None:
    assert {part_of(path) for path in modules()} <= RANK.keys()


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    assert offences(part_of(path), imported_parts(path)) == []


def test_the_walk_sees_every_way_to_import_upwards() -> None:
    for line in (
        "import fm2s_stack.cli.main",
        "from fm2s_stack.cli import main",
        "from fm2s_stack import cli",
        "from .. import cli",
        "from ..cli import main",
        "def f():\n    from fm2s_stack.cli import main",
    ):
        names = [name.split(".") for name in imported_modules(line, "fm2s_stack.stack")]
        assert any(name[:2] == ["fm2s_stack", "cli"] for name in names), line
    assert offences("stack", {"cli", "plan", "fm2s", "stack"}) == ["cli", "fm2s"]


@pytest.mark.parametrize(
    "statement", ["import fm2s_stack", "import fm2s_stack.settings, fm2s_stack.errors"]
)
def test_importing_the_package_loads_nothing_heavy(statement: str) -> None:
    code = f"import sys\n{statement}\nprint(*(n for n in sys.modules if '.' not in n))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "fm2s_stack" in loaded
    assert not loaded & HEAVY
