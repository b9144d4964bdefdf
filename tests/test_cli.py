"""The command line: exit codes, what it says where, and every refusal in one line."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import numpy as np
import pytest
import tifffile
from cli_tools import QUICK, attributes, only_line, python, recording

from fm2s_stack.cli.main import COMMANDS, cli

HEAVY = ("torch", "dask", "zarr", "ome_zarr", "tifffile", "imagecodecs", "scipy", "PIL", "numpy")


def test_an_unknown_preset_is_a_usage_error_that_lists_those_there_are(call, movie, tmp_path):
    call("denoise", movie, tmp_path / "o.zarr", "-c", "sunshine", code=2)
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
        assert [p.opts for p in options if not p.help and not p.hidden] == [], name


def is_frozen(out: Path) -> bool:
    return (out / "zarr.json").exists() and "token" in attributes(out)


def test_a_killed_run_says_incomplete_and_is_continued_or_replaced_when_asked(call, movie):
    out = movie.with_name("o.zarr")
    words = [movie, out, "-c", "srdtrans", "--fit", "frame", "--steps", "4000", "--quiet"]
    module = [sys.executable, "-m", "fm2s_stack", "denoise"]
    with subprocess.Popen([*module, *map(str, words)]) as run:
        deadline = time.monotonic() + 100
        while not is_frozen(out) and time.monotonic() < deadline:
            assert run.poll() is None
            time.sleep(0.05)
        run.send_signal(signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
    assert attributes(out)["status"] == "incomplete"
    line = call.refused(movie, out)  # in fewer steps than the run that was killed
    assert "--steps (4000 there, 3 now)" in line
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
    unknown = run("denoise", movie, movie.with_name("o.zarr"), "-c", "sunshine")
    assert unknown.returncode == 2


@pytest.mark.parametrize("fit", ["stack", "frame"])
def test_an_interrupt_ends_a_run_within_seconds_and_says_how_to_continue(tmp_path, fit):
    source = recording(tmp_path / "movie.tif", (12, 200, 200))
    command = [sys.executable, "-m", "fm2s_stack", "denoise", str(source)]
    command += [str(tmp_path / "out.zarr"), "-c", "srdtrans", "--fit", fit, "--steps", "100000"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        running.stderr.readline()  # the plan: work begins
        time.sleep(3)
        running.send_signal(signal.SIGINT)
        _, told = running.communicate(timeout=15)
    assert running.returncode == 75
    assert told.splitlines()[-1].startswith("Stopped early: SIGINT")
    assert told.splitlines()[-1].endswith("run the same command again to continue")
    assert "Traceback" not in told


@pytest.mark.parametrize(
    "words", [["--steps", "9"], ["--seed", "1"], ["--fit-crop", "full"], ["--k-g", "0"]]
)
def test_options_of_training_are_refused_where_networks_are_borrowed(call, movie, tmp_path, words):
    call.denoise(movie, tmp_path / "a.zarr")
    line = call.refused(
        movie, tmp_path / "b.zarr", "--fit-from", tmp_path / "a.zarr", *words, code=2
    )
    assert f"leave out {words[0]}" in line


@pytest.mark.parametrize(
    "words", [["denoise", "--steps", "0"], ["info", "--bogus"], ["nothing"], ["denoise"]]
)
def test_an_option_that_cannot_be_meant_is_one_line_too(call, words):
    call(*words, code=2)
    assert "--help" in only_line(call.err)
