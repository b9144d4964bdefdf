"""Shared fixtures: the folder of real data, and the marker of the slow tier."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
from cli_tools import Cli, recording
from crash_tools import server, undisturbed  # noqa: F401 - fixtures
from evaluate_tools import evaluated, simulation_files  # noqa: F401 - fixtures
from resume_tools import quick_looks  # noqa: F401 - fixture


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all", action="store_true", help="run the slow tier too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--all"):
        return
    skip = pytest.mark.skip(reason="slow tier: run scripts/test.sh --all")
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(skip)


def data_folder() -> Path | None:
    """The folder of real images and movies, or None."""
    named = os.environ.get("FM2S_STACK_TEST_DATA")
    folder = Path(named) if named else Path(__file__).parents[2] / "shared" / "data"
    return folder if folder.is_dir() else None


@pytest.fixture(scope="session")
def data() -> Path:
    folder = data_folder()
    if folder is None and os.environ.get("CI"):
        pytest.fail("no test data: CI needs ../shared/data or FM2S_STACK_TEST_DATA")
    if folder is None:
        pytest.skip("no test data: set FM2S_STACK_TEST_DATA to its folder")
    return folder


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Cli:
    """The command line, run in this process."""
    return Cli(capsys)


@pytest.fixture
def movie(tmp_path: Path) -> Path:
    """A small recording in a folder of its own."""
    return recording(tmp_path / "movie.tif")


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Imports a module of scripts/ by name, as those beside it do."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "scripts"))
    return import_module


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache folder of the test's own: never the user's."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
