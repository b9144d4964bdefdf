"""``preview``: what it draws and says."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import tifffile
from cli_tools import only_line, recording
from PIL import Image
from preview_tools import HERE, counted, made, quick  # noqa: F401

from fm2s_stack.errors import OutputExists
from fm2s_stack.preview import find_setting, preview_stack
from fm2s_stack.report.preview_picture import Layout, preview_png, residual_scale


def test_the_picture_shows_pixels_at_one_contrast_and_the_residual_around_grey(tmp_path):
    stack, _ = made(tmp_path, 0, 25)
    found = preview_stack(stack, [find_setting("srdtrans")], run=HERE)
    path = preview_png(tmp_path / "p.png", found)
    picture = np.asarray(Image.open(path).convert("RGB")).astype(int)
    layout = Layout(2, (96, 96), (32, 32))
    assert picture.shape[1] == layout.width
    assert layout.panel % 96 == 0
    factor = layout.panel // 96
    top, _, bottom = layout.tops
    tried = found.tried[0].plane.astype(float)
    low, high = np.percentile(tried, (0.3, 99.8))
    for column, plane in enumerate((found.raw, tried)):
        left = layout.left(column) + factor // 2
        seen = picture[top + factor // 2 :: factor, left::factor][:96, :96]
        grey = (seen == seen[..., :1]).all(axis=2)  # but for the yellow frame
        expected = np.rint(255 * np.clip((plane - low) / (high - low), 0, 1))
        assert grey.mean() > 0.9
        assert np.abs(seen[..., 0] - expected)[grey].max() <= 1
    scale = residual_scale(found)
    seen = picture[bottom + factor // 2 :: factor, layout.left(1) + factor // 2 :: factor, 0]
    expected = np.rint(255 * np.clip(0.5 + (found.raw - tried) / scale / 2, 0, 1))
    assert np.abs(seen[:96, :96] - expected).max() <= 1
    with pytest.raises(OutputExists):
        preview_png(path, found)


def test_the_command_draws_says_what_it_chose_and_leaves_what_is_there(call, tmp_path, monkeypatch):
    movie = recording(tmp_path / "movie.tif", (30, 48, 48))
    monkeypatch.chdir(tmp_path)
    call("preview", movie, "--device", "cpu")
    assert "movie.tif, frame 15: a preview of a part" in call.out
    assert "\nauto " in call.out and "\nsrdtrans " in call.out
    assert "is chosen: " in call.out
    assert Image.open("movie_preview.png").width >= 1200
    call("preview", movie, code=1)
    assert "movie_preview.png exists already" in only_line(call.err)
    monkeypatch.setattr("fm2s_stack.preview.setting.PRESET_DRAWS", 50)
    call("preview", movie, "-c", "twophoton", "--overwrite", "--quiet", "--frame", 3, "--json")
    told = json.loads(call.out)
    assert call.err == ""
    assert (told["shown"], told["chosen"]) == (3, "twophoton")
    assert [one["name"] for one in told["settings"]] == ["twophoton"]
    assert told["planes"] == list(range(30))


def test_the_command_takes_files_of_presets_and_one_of_several_channels(call, tmp_path):
    pixels = np.random.default_rng(0).poisson(90, (26, 2, 40, 40)).astype(np.uint16)
    path, mine = tmp_path / "two.ome.tif", tmp_path / "mine.toml"
    tifffile.imwrite(path, pixels, metadata={"axes": "TCYX", "Channel": {"Name": ["g", "r"]}})
    mine.write_text("amplification=2\nstride=75\nfilter=3\nk_g=150\nk_p=85\nlambda_p=300\n")
    here = ("-o", tmp_path / "p.png", "--device", "cpu", "--overwrite")
    call("preview", path, "-c", mine, "-c", "srdtrans", *here)
    assert "two.ome.tif, channel g, frame 13" in call.out
    assert f"{mine} " in call.out
    call("preview", path, "-c", "srdtrans", "--channel", "r", "--json", *here)
    assert json.loads(call.out)["channel"] == 1


def test_one_image_and_a_z_stack_are_previewed_too(call, tmp_path):
    image = np.random.default_rng(1).poisson(60, (48, 48)).astype(np.uint8)
    Image.fromarray(image).save(tmp_path / "i.png")
    call("preview", tmp_path / "i.png", "-o", tmp_path / "pi.png", "--device", "cpu")
    assert "on the one plane" in call.out
    assert re.search("^auto .*^srdtrans ", call.out, re.MULTILINE | re.DOTALL)
    deep = np.random.default_rng(1).poisson(60, (9, 48, 48)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "z.tif", deep, photometric="minisblack", metadata={"axes": "ZYX"})
    call("preview", tmp_path / "z.tif", "-o", tmp_path / "z.png", "--device", "cpu")
    assert "z.tif, slice 4" in call.out


def test_nan_is_refused_in_a_line_or_kept(call, tmp_path):
    pixels = np.random.default_rng(0).poisson(90, (26, 48, 48)).astype(np.float32)
    pixels[:, :5] = np.nan
    path, out = tmp_path / "r.tif", tmp_path / "p.png"
    tifffile.imwrite(path, pixels, photometric="minisblack")
    call("preview", path, "-o", out, "--quiet", code=1)
    assert "NaN or infinite pixels" in only_line(call.err)
    assert not out.exists()
    call("preview", path, "-o", out, "--nan", "keep", "--device", "cpu")
    assert "is chosen" in call.out
    assert out.exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-c", "nonsense"], "no preset 'nonsense'"),
        (["-c", "auto", "-c", "auto"], "each once"),
        (["-o", "p.jpg"], ".png file"),
        (["--frame", "30"], "expected 0 to 29"),
    ],
)
def test_what_cannot_be_meant_is_one_line(call, tmp_path, monkeypatch, words, said):
    movie = recording(tmp_path / "movie.tif", (30, 48, 48))
    monkeypatch.chdir(tmp_path)
    call("preview", movie, "--quiet", *words, code=2)
    assert said in only_line(call.err)
    assert [file.name for file in tmp_path.iterdir()] == ["movie.tif"]
