"""The command line: exit codes, what it says where, and every refusal in one line."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import numpy as np
import pytest
import tifffile
from cli_tools import QUICK, Cli, attributes, level, only_line, python, recording

from fm2s_stack.cli.main import COMMANDS, cli

HEAVY = ("torch", "dask", "zarr", "ome_zarr", "tifffile", "imagecodecs", "scipy", "PIL", "numpy")


@pytest.fixture
def call(capsys) -> Cli:
    return Cli(capsys)


@pytest.fixture
def movie(tmp_path) -> Path:
    return recording(tmp_path / "movie.tif")


def test_no_preset_is_a_usage_error_that_lists_them(call, movie, tmp_path):
    call("denoise", movie, tmp_path / "o.zarr", code=2)
    line = only_line(call.err)
    for name in ("srdtrans", "confocal-avg2", "twophoton-avg16", "widefield"):
        assert name in line
    assert not (tmp_path / "o.zarr").exists()


@pytest.mark.parametrize(
    ("words", "met"),
    [
        (["-c", "sunshine"], "sunshine"),
        (["--k-g", "-5"], "k_g"),
        (["--filter", "4"], "filter"),
        (["--frames", "20:30"], "20:30 selects none of 12 frames"),
        (["--frames", "5:5"], "5:5"),
        (["--slices", "1:"], "--slices 1:"),
        (["--channel", "3"], "--channel 3"),
        (["--axes", "QQQ"], "QQQ"),
        (["--series", "7"], "--series 7"),
        (["--device", "gpu"], "gpu"),
        (["--fit", "stack", "--fit-every", "3"], "--fit-every"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line_and_exits_2(call, movie, words, met):
    words = [*QUICK, "--quiet", *words]
    preset = () if "-c" in words else ("-c", "srdtrans")
    call("denoise", movie, movie.with_name("o.zarr"), *preset, *words, code=2)
    assert met in only_line(call.err)
    assert not movie.with_name("o.zarr").exists()


@pytest.mark.parametrize(
    ("words", "met"),
    [
        (["--frames", "abc"], "abc"),
        (["--memory", "much"], "much"),
        (["--chunks", "1,2"], "1,2"),
        (["--fit-crop", "7"], "7"),
        (["--pyramid", "xyz"], "xyz"),
        (["--steps", "0"], "0"),
        (["--nonsense"], "--nonsense"),
    ],
)
def test_a_value_that_does_not_parse_exits_2_and_names_it(call, movie, words, met):
    call("denoise", movie, movie.with_name("o.zarr"), "-c", "srdtrans", *words, code=2)
    assert met in call.err.splitlines()[-1]
    assert "Traceback" not in call.err


def test_an_unknown_command_exits_2(call):
    call("denoize", code=2)
    assert "denoize" in call.err


def test_a_missing_input_is_named(call, tmp_path):
    line = call.refused(tmp_path / "gone.tif", tmp_path / "o.zarr")
    assert "gone.tif" in line
    assert "no such file" in line


def test_an_empty_name_is_not_the_folder_we_are_in(call, movie, monkeypatch):
    monkeypatch.chdir(movie.parent)
    assert "empty" in call.refused("", "o.zarr", code=2)


def test_colour_is_refused(call, tmp_path):
    pixels = np.zeros((20, 20, 3), np.uint8)
    tifffile.imwrite(tmp_path / "rgb.tif", pixels, photometric="rgb")
    assert "rgb.tif" in call.refused(tmp_path / "rgb.tif", tmp_path / "o.zarr")


@pytest.mark.parametrize("name", ["out", "out.foo", "out.zar", ".zarr"])
def test_an_output_of_another_suffix_is_refused(call, movie, name):
    assert ".zarr, .tif" in call.refused(movie, movie.with_name(name), code=2)


def test_a_png_of_a_movie_is_refused_before_any_work(call, movie):
    assert "one plane" in call.refused(movie, movie.with_name("o.png"))
    assert [entry.name for entry in movie.parent.iterdir()] == ["movie.tif"]


def test_a_float_png_is_refused_and_says_what_to_give(call, tmp_path):
    image = recording(tmp_path / "image.tif", (48, 48))
    line = call.refused(image, tmp_path / "o.png", "--dtype", "float32")
    assert "--dtype uint16" in line


def test_an_output_folder_that_is_not_there_is_named(call, movie):
    assert "make it" in call.refused(movie, movie.parent / "no" / "o.zarr", code=2)


def test_a_file_as_the_output_folder_is_called_a_file(call, movie):
    assert "is a file, not a folder" in call.refused(movie, movie / "o.zarr", code=2)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root writes anywhere")
@pytest.mark.parametrize("name", ["o.zarr", "o.tif"])
def test_a_folder_that_cannot_be_written_is_refused_before_training(call, movie, name):
    locked = movie.parent / "locked"
    locked.mkdir(mode=0o555)
    assert "cannot be written" in call.refused(movie, locked / name)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder nobody can write to")
def test_a_file_system_that_takes_no_files_ends_in_one_line(call, movie):
    assert "/proc/o.zarr" in call.refused(movie, "/proc/o.zarr")


@pytest.mark.parametrize("option", [[], ["--overwrite"]])
def test_the_input_is_never_the_output(call, movie, option, monkeypatch):
    before = movie.read_bytes()
    link = movie.with_name("link.tif")
    link.symlink_to(movie)
    monkeypatch.chdir(movie.parent)
    for name in (movie, "movie.tif", "./x/../movie.tif", link):
        call.refused(movie, name, *option, code=2)
    assert movie.read_bytes() == before


@pytest.mark.parametrize("source", ["", "*.tif", "list.txt"])
def test_a_part_of_the_input_is_never_the_output(call, tmp_path, source):
    folder = tmp_path / "frames"
    folder.mkdir()
    for i in range(3):
        recording(folder / f"frame{i}.tif", (32, 32))
    (folder / "list.txt").write_text("frame0.tif\nframe1.tif\nframe2.tif\n")
    before = (folder / "frame1.tif").read_bytes()
    line = call.refused(folder / source, folder / "frame1.tif", "--overwrite", code=2)
    assert "part of the input" in line
    assert (folder / "frame1.tif").read_bytes() == before


def test_an_output_inside_a_zarr_input_is_refused(call, movie):
    call.denoise(movie, movie.with_name("in.zarr"))
    inner = movie.with_name("in.zarr") / "o.zarr"
    assert "inside" in call.refused(movie.with_name("in.zarr"), inner, code=2)


def test_a_complete_output_stays_unless_overwriting_is_asked_for(call, movie):
    out = movie.with_name("o.zarr")
    call.denoise(movie, out)
    before = level(out)
    assert "is complete" in call.refused(movie, out, "--frames", "0:5")
    assert np.array_equal(level(out), before)
    call.denoise(movie, f"{out}/", "--frames", "0:5", "--overwrite")
    assert level(out).shape == (5, 48, 48)
    assert attributes(out)["status"] == "complete"


@pytest.mark.parametrize("name", ["notes", "file", "link", "dangling"])
def test_what_is_not_ours_survives_overwrite_and_is_refused_before_training(call, movie, name):
    out = movie.with_name("o.zarr")
    if name == "notes":
        out.mkdir()
        (out / "notes.txt").write_text("hi")
    elif name == "file":
        out.write_text("hi")
    else:
        target = movie.with_name("target.zarr")
        if name == "link":
            call.denoise(movie, target)
        out.symlink_to(target)
    plain = call.refused(movie, out)
    assert str(out) in plain
    call.denoise(movie, out, "--overwrite", code=1)
    assert "fit:" not in call.err
    assert out.is_symlink() or out.is_file() or (out / "notes.txt").read_text() == "hi"


def test_nan_is_refused_with_its_frame(call, tmp_path):
    pixels = np.random.default_rng(0).normal(100, 9, (60, 32, 32)).astype(np.float32)
    pixels[2, 5, 6] = np.nan  # none of the frames that training samples
    tifffile.imwrite(tmp_path / "nan.tif", pixels)
    line = call.refused(tmp_path / "nan.tif", tmp_path / "o.zarr")
    assert "frame 2 " in line
    assert "--nan keep" in line
    assert attributes(tmp_path / "o.zarr")["status"] == "incomplete"
    call("info", tmp_path / "o.zarr", code=1)
    assert "incomplete" in only_line(call.err)


def test_a_movie_has_no_slices_to_halve_along_t(call, tmp_path):
    stack = recording(tmp_path / "z.tif", (4, 48, 48), imagej=True, metadata={"axes": "ZYX"})
    words = ("--pyramid", "zyx", "--along", "t")
    assert "--along z" in call.refused(stack, tmp_path / "o.zarr", *words, code=2)


def test_a_device_that_is_not_there_is_named(call, movie):
    words = ("denoise", movie, movie.with_name("o.zarr"), "-c", "srdtrans")
    call(*words, "--device", "cuda:7", code=1)
    assert "cuda:7" in only_line(call.err)


def test_too_little_memory_is_refused_and_its_plan_still_printed(call, movie):
    out = movie.with_name("o.zarr")
    line = call.refused(movie, out, "--memory", "100MB")
    assert "0.10 GB" in line
    call.denoise(movie, out, "--memory", "100MB", "--dry-run")
    assert "would refuse" in call.out
    call.denoise(movie, out, "--memory", "100MB", "--dry-run", "--json")
    plan = json.loads(call.out)
    assert plan["fits"] is False
    assert plan["allowed_bytes"] == 100_000_000 < plan["projected_bytes"]
    assert not out.exists()


@pytest.mark.parametrize("words", [["-c", "srdtrans"], ["--fit", "stack"], ["--k-g", "5"]])
def test_borrowed_networks_take_no_preset(call, movie, words):
    call.denoise(movie, movie.with_name("a.zarr"))
    words = ["--fit-from", movie.with_name("a.zarr"), *words]
    assert "leave out" in call.refused(movie, movie.with_name("o.zarr"), *words, code=2)


@pytest.mark.parametrize("name", ["gone.zarr", "movie.tif"])
def test_networks_of_nothing_are_refused(call, movie, name):
    words = ("--fit-from", movie.with_name(name))
    assert "no such output" in call.refused(movie, movie.with_name("o.zarr"), *words)


def test_json_is_one_document_alone_and_quiet_says_nothing(call, movie):
    call.denoise(movie, movie.with_name("a.zarr"), "--json")
    told = json.loads(call.out)
    assert (told["axes"], told["shape"], told["dtype"]) == ("tyx", [12, 48, 48], "uint16")
    assert told["planes"] == 12
    assert "12 planes" in call.err
    call.denoise(movie, movie.with_name("b.zarr"), "--quiet")
    assert (call.out, call.err) == ("", "")
    call.denoise(movie, movie.with_name("c.zarr"), "--json", "--quiet")
    assert json.loads(call.out)["output"].endswith("c.zarr")
    assert call.err == ""


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_loads_nothing_heavy(command):
    code = (
        "import sys\nfrom fm2s_stack.cli.main import main\n"
        "try:\n    main([*sys.argv[1:], '--help'])\n"
        "finally:\n    print('LOADED', *(n for n in sys.modules if '.' not in n))"
    )
    done = python(code, *command.split())
    text, _, loaded = done.stdout.partition("LOADED")
    assert done.returncode == 0
    assert f"fm2s-stack {command}".strip() in text
    assert "\\b" not in text
    # numpy comes with the dataclasses of the settings of a command
    assert set(loaded.split()).isdisjoint(set(HEAVY) - ({"numpy"} if command else set()))


def test_every_command_and_option_has_help():
    context = click.Context(cli)
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        assert command is not None
        assert command.help and f"fm2s-stack {name}" in command.help, name
        options = [p for p in command.params if isinstance(p, click.Option)]
        assert [p.opts for p in options if not p.help] == [], name


def test_a_killed_run_says_incomplete_and_is_only_replaced_when_asked(call, movie):
    out = movie.with_name("o.zarr")
    words = [movie, out, "-c", "srdtrans", "--fit", "frame", "--steps", "4000", "--quiet"]
    module = [sys.executable, "-m", "fm2s_stack", "denoise"]
    with subprocess.Popen([*module, *map(str, words)]) as run:
        deadline = time.monotonic() + 100
        while not (out / "zarr.json").exists() and time.monotonic() < deadline:
            assert run.poll() is None
            time.sleep(0.05)
        run.send_signal(signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
    assert attributes(out)["status"] == "incomplete"
    line = call.refused(movie, out)
    assert "incomplete" in line
    assert "--overwrite" in line
    assert attributes(out)["status"] == "incomplete"
    assert "incomplete" in call.refused(movie, movie.with_name("p.zarr"), "--fit-from", out)
    call.denoise(movie, out, "--overwrite")
    assert attributes(out)["status"] == "complete"


def test_a_fresh_interpreter_exits_with_the_same_codes(movie):
    def run(*words: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "fm2s_stack", *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    assert run("--version").stdout.startswith("fm2s-stack, version")
    failed = run("info", movie.with_name("gone.tif"))
    assert (failed.returncode, failed.stdout) == (1, "")
    assert "gone.tif" in only_line(failed.stderr)
    assert run("denoise", movie, movie.with_name("o.zarr")).returncode == 2
