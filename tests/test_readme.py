"""What the README shows runs, and what it lists is what there is."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import tifffile
from cli_tools import QUICK, Cli, attributes, level, recording
from PIL import Image

from fm2s_stack.cli.main import COMMANDS
from fm2s_stack.fm2s.presets import find_preset, published_presets
from fm2s_stack.settings import FitSettings
from fm2s_stack.store.provenance import KEYS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
#: lines of shell that a test cannot run: they install, or run the tests themselves
ELSEWHERE = (
    "pip install .",
    "pip install -c scripts/constraints.txt .",
    "bash scripts/demo.sh",
    "bash scripts/test.sh",
    "pip wheel -w wheels -c scripts/constraints.txt .",
    "pip install --no-index --find-links wheels fm2s-stack",
    "apptainer build fm2s-stack.sif examples/apptainer.def",
)


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


def shell() -> list[list[str]]:
    """Words of every line of shell, comments left out."""
    indented = re.findall(r"^    (\S.*)$", re.sub(r"```.*?```", "", README, flags=re.DOTALL), re.M)
    lines = [*indented, *"\n".join(blocks("bash")).splitlines()]
    return [words for line in lines if (words := shlex.split(line, comments=True))]


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """The files that the README names, small."""
    for name in ("movie.tif", "drug.tif"):
        recording(tmp_path / name, (4, 40, 40))
    for number in (1, 2):
        recording(tmp_path / f"trial_{number}.tif", (2, 40, 40))
    recording(tmp_path / "stimulated.tif", (160, 40, 40))
    (tmp_path / "shutter.txt").write_text("150:152  # closed\n")
    image = tifffile.imread(tmp_path / "movie.tif")[0] >> 3
    Image.fromarray(image.astype(np.uint8)).save(tmp_path / "image.png")
    registered = tifffile.imread(tmp_path / "movie.tif").astype(np.float32)
    registered[1, 20, 20] = np.nan
    tifffile.imwrite(tmp_path / "registered.tif", registered, photometric="minisblack")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_lines_of_shell_run_in_their_order(folder, capsys, monkeypatch):
    call, ran = Cli(capsys), 0
    monkeypatch.setattr("fm2s_stack.job.planewise_fitting.MANY", 1)  # faster, a little worse
    for steps in ("AUTO_STEPS", "PRESET_DRAWS"):
        monkeypatch.setattr(f"fm2s_stack.preview.setting.{steps}", 3)
    for words in shell():
        if words[0] == "fm2s-stack":
            quick = () if "--fit-from" in words else QUICK
            shorter = {
                "denoise": quick,
                "batch": QUICK,
                "simulate": ("--frames", "4", "--size", "32"),
            }
            smaller = ("--size", "32") if "--slices" in words else shorter.get(words[1], ())
            call(*words[1:], *smaller)
            ran += 1
        elif words[0] == "python":
            monkeypatch.setattr("sys.argv", [str(ROOT / words[1]), *words[2:]])
            exec(compile((ROOT / words[1]).read_text(), words[1], "exec"), {"__name__": "__main__"})
        else:
            assert " ".join(words) in ELSEWHERE
    assert ran >= 10
    assert Path("picture.png").exists()
    assert Path("look.png").exists()
    assert Path("movie_preview.png").exists()
    assert level(Path("trials.zarr")).shape == (4, 40, 40)
    assert np.isnan(level(Path("registered.zarr"))).sum() == 1
    assert attributes(Path("stimulated.zarr"))["selection"]["excluded"] == [[150, 152]]
    assert attributes(Path("drug.zarr"))["settings"]["fit_from"] == "out.zarr"


def test_the_python_runs(folder):
    (block,) = blocks("python")
    assert '"srdtrans"' in block
    quick = FitSettings(find_preset("srdtrans"), draws=3)
    names = {"QUICK": quick}
    exec(block.replace('"srdtrans"', "QUICK"), names)
    result = level(Path("library.zarr"))
    assert np.array_equal(names["frame"], result[0])
    assert np.array_equal(np.asarray(names["lazy"]), result)
    assert np.array_equal(names["again"].weights, names["denoiser"].weights)


def test_every_command_has_an_example():
    shown = {words[1] for words in shell() if words[0] == "fm2s-stack"}
    assert shown == set(COMMANDS)


def test_every_option_named_is_an_option():
    from click import Context

    from fm2s_stack.cli.main import cli

    commands = [cli.get_command(Context(cli), name) for name in COMMANDS]
    known = {option for c in commands if c for param in c.params for option in param.opts}
    named = set(re.findall(r"`(--[a-z-]+)", README))
    assert len(named) > 15
    assert named <= known


def test_the_table_of_the_provenance_is_that_of_the_code():
    _, _, section = README.partition("## What an output tells about itself")
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", section.partition("\n## ")[0], re.MULTILINE)
    assert dict(rows) == dict(KEYS)
    assert [key for key, _ in rows] == list(KEYS)


def test_the_table_of_presets_names_every_preset():
    rows = re.findall(r"^\| (`(?:srdtrans|twophoton|confocal|widefield)`.*?) \|", README, re.M)
    listed = set()
    for row in rows:
        name, *rest = re.findall(r"`([^`]+)`", row)
        listed |= {name, *(r if not r.startswith("-") else f"{name}{r}" for r in rest)}
    assert listed == set(published_presets())


def test_links_within_the_repository_lead_somewhere():
    targets = re.findall(r"\]\(([^)#:]+)\)", README)
    assert "examples/before_after.png" in targets
    assert [t for t in targets if not (ROOT / t).exists()] == []
    assert (ROOT / "examples/before_after.png").stat().st_size < 400_000
    anchors = {
        re.sub(r"[^\w -]", "", h).replace(" ", "-") for h in re.findall(r"^## (.*)$", README, re.M)
    }
    assert {a.lower() for a in anchors} >= set(re.findall(r"\]\(#([^)]+)\)", README))


def test_files_named_in_backticks_are_there():
    named = re.findall(r"(?<![\w/])((?:scripts|examples|tests)/[\w./]+\w)", README)
    assert [name for name in named if not (ROOT / name).exists()] == []
