"""The Apptainer recipe names files that are there, and installs what the tests ran with."""

import os
import re
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]
RECIPE = (ROOT / "examples/apptainer.def").read_text("utf-8")
INSIDE = "/opt/fm2s-stack"


def section(name):
    """Text of a section of the recipe."""
    found = re.search(rf"^%{name}\n(.*?)(?=^%|\Z)", RECIPE, re.MULTILINE | re.DOTALL)
    assert found, name
    return found[1]


def copied():
    """Source by destination, of all that goes into the image."""
    rows = [line.split() for line in section("files").splitlines() if line.strip()]
    return {destination: source for source, destination in rows}


def test_every_file_it_copies_is_there():
    missing = [source for source in copied().values() if not (ROOT / source).exists()]
    assert missing == []


def test_its_commands_install_the_pinned_torch_and_the_package(tmp_path):
    """The commands are run, on the copied files, with a Python that only tells its words."""
    place = tmp_path / "image"
    for destination, source in copied().items():
        to = place / destination.removeprefix(INSIDE + "/")
        to.parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (ROOT / source).is_dir() else shutil.copy
        copy(ROOT / source, to)
    fake = tmp_path / "bin" / "python"
    fake.parent.mkdir()
    fake.write_text(f'#!/bin/sh\necho "$PWD|$*" >> {tmp_path}/said\n', "utf-8")
    fake.chmod(0o755)
    commands = (
        section("post").replace("{{ TORCH_INDEX }}", "https://index").replace(INSIDE, str(place))
    )
    path = f"{fake.parent}:{os.environ['PATH']}"
    subprocess.run(["sh", "-c", commands], env={**os.environ, "PATH": path}, check=True)
    torch, package = (tmp_path / "said").read_text().splitlines()
    pinned = re.search(r"^torch==.*$", (ROOT / "scripts/constraints.txt").read_text(), re.M)
    assert torch.endswith(f"--index-url https://index {pinned[0]}")
    assert package.startswith(f"{place}|-m pip install")
    assert package.endswith("--constraint scripts/constraints.txt .")
    # setup.py reads files beside it; they were copied too.
    named = re.findall(r'HERE / "([^"]+)"', (ROOT / "setup.py").read_text())
    assert named
    assert [name for name in named if not (place / name).exists()] == []


def test_the_arguments_it_takes_are_those_it_uses():
    taken = set(re.findall(r"^\s+(\w+)=", section("arguments"), re.MULTILINE))
    assert taken == set(re.findall(r"\{\{ (\w+) \}\}", RECIPE)) == {"TORCH_INDEX"}
    assert "--build-arg TORCH_INDEX=" in RECIPE


def test_what_it_runs_are_commands_of_the_package():
    from fm2s_stack.cli.main import COMMANDS

    called = re.findall(r"^\s+(?:exec )?fm2s-stack (\S+)", section("test"), re.MULTILINE)
    assert called
    assert {word for word in called if not word.startswith("-")} <= set(COMMANDS)
