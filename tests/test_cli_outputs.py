"""What the command line writes: right pixels in every format, fits, selections, provenance."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from cli_tools import attributes, level, recording
from ome_zarr_models import open_ome_zarr
from PIL import Image

PARAMETERS = 3529  # of the collapsed network: 1 -> 24 -> 12 -> 1 channels, with biases


@pytest.fixture
def done(call, movie) -> Path:
    """The movie denoised with the defaults."""
    call.denoise(movie, movie.with_name("done.zarr"))
    return movie.with_name("done.zarr")


def stored(path: Path, name: str) -> np.ndarray:
    return np.asarray(zarr.open_array(str(path / "fm2s_stack" / name), mode="r")[...])


def names(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()}


def test_the_output_is_the_recording_with_less_noise(done, movie):
    raw, result = tifffile.imread(movie), level(done)
    assert (result.shape, result.dtype) == (raw.shape, raw.dtype)
    assert abs(result.mean() - raw.mean()) < 0.1 * raw.mean()
    assert np.diff(result.astype(int), axis=0).std() < np.diff(raw.astype(int), axis=0).std()


@pytest.mark.parametrize("name", ["o.tif", "o.ome.tif", "o.TIFF"])
def test_a_tiff_holds_the_pixels_of_the_zarr_and_nothing_is_left_beside_it(call, done, movie, name):
    call.denoise(movie, movie.with_name(name))
    with tifffile.TiffFile(movie.with_name(name)) as tif:
        assert tif.series[0].axes == "TYX"
        assert np.array_equal(tif.asarray(), level(done))
    assert names(movie.parent) == {"movie.tif", "done.zarr", name}


def test_a_png_holds_the_pixels_of_the_zarr_and_nothing_is_left_beside_it(call, tmp_path):
    plane = tifffile.imread(recording(tmp_path / "tmp.tif", (48, 48))) >> 4
    Image.fromarray(plane.astype(np.uint8)).save(tmp_path / "image.png")
    (tmp_path / "tmp.tif").unlink()
    for name in ("o.png", "o.zarr"):
        call.denoise(tmp_path / "image.png", tmp_path / name, "-c", "twophoton")
    with Image.open(tmp_path / "o.png") as png:
        assert png.mode == "L"
        assert np.array_equal(np.asarray(png), level(tmp_path / "o.zarr"))
    assert names(tmp_path) == {"image.png", "o.png", "o.zarr"}


def test_a_png_of_16_bits_keeps_them(call, tmp_path):
    recording(tmp_path / "image.tif", (48, 48))
    for name in ("o.png", "o.zarr"):
        call.denoise(tmp_path / "image.tif", tmp_path / name)
    with Image.open(tmp_path / "o.png") as png:
        pixels = np.asarray(png)
    assert pixels.max() > 255
    assert np.array_equal(pixels, level(tmp_path / "o.zarr"))


def test_a_file_is_replaced_only_when_asked(call, movie):
    out = movie.with_name("o.tif")
    out.write_bytes(b"precious")
    assert "exists" in call.refused(movie, out)
    assert out.read_bytes() == b"precious"
    call.denoise(movie, out, "--overwrite")
    assert tifffile.imread(out).shape == (12, 48, 48)


def test_a_float_output_rounds_to_the_integer_one(call, done, movie):
    call.denoise(movie, movie.with_name("f.zarr"), "--dtype", "float32")
    fine = level(movie.with_name("f.zarr"))
    assert fine.dtype == np.float32
    assert (fine != np.rint(fine)).any()
    assert np.abs(fine - level(done)).max() <= 0.51


def test_a_narrow_output_is_clipped_never_wrapped_and_counted(call, done, movie):
    out = movie.with_name("n.zarr")
    call.denoise(movie, out, "--dtype", "uint8", "--json")
    assert np.array_equal(level(out), np.minimum(level(done), 255))
    beyond = int((level(done) > 255).sum())
    assert beyond > 0
    assert json.loads(call.out)["clipped"] == attributes(out)["clipped"] == beyond


def test_some_frames_are_the_same_as_in_the_whole(call, done, movie):
    out = movie.with_name("o.zarr")
    call.denoise(movie, out, "--fit-from", done, "--frames", "5:9")
    assert np.array_equal(level(out), level(done)[5:9])
    assert attributes(out)["selection"]["frames"] == [5, 9]
    assert attributes(out)["settings"]["fit_from"] == "done.zarr"
    assert np.array_equal(stored(out, "weights"), stored(done, "weights"))


def test_windows_have_networks_of_their_own_that_serve_later_runs(call, movie):
    out = movie.with_name("every.zarr")
    call.denoise(movie, out, "--fit-every", 4)
    assert stored(out, "weights").shape == (3, 1, 1, PARAMETERS)
    assert stored(out, "knots").tolist() == [1.5, 5.5, 9.5]
    part = movie.with_name("part.zarr")
    call.denoise(movie, part, "--fit-from", out, "--frames", "5:9")
    assert np.array_equal(level(part), level(out)[5:9])


def test_every_frame_has_its_network_and_they_serve_no_other(call, movie):
    out = movie.with_name("frame.zarr")
    call.denoise(movie, out, "--fit", "frame")
    weights = stored(out, "weights")
    assert weights.shape == (12, 1, 1, PARAMETERS)
    assert len(np.unique(weights[:, 0, 0], axis=0)) == 12
    line = call.refused(movie, movie.with_name("o.zarr"), "--fit-from", out, code=2)
    assert "--fit frame" in line


def test_nan_and_padding_come_back_unchanged(call, tmp_path):
    pixels = np.random.default_rng(0).normal(100, 9, (8, 40, 40)).astype(np.float32)
    pixels[:, :3] = 0
    pixels[5, 20, 20:23] = np.nan
    pixels[6, 30, 30] = np.inf
    tifffile.imwrite(tmp_path / "nan.tif", pixels)
    call.denoise(tmp_path / "nan.tif", tmp_path / "o.zarr", "--nan", "keep")
    result = level(tmp_path / "o.zarr")
    assert np.array_equal(np.isnan(result), np.isnan(pixels))
    assert np.array_equal(np.isinf(result), np.isinf(pixels))
    assert (result[:, :3] == 0).all()
    changed = np.isfinite(pixels) & (result != pixels)
    assert changed[:, 3:].mean() > 0.9
    assert np.nanstd(result[0, 5:]) < pixels[0, 5:].std()


def test_the_older_format_holds_the_same_pixels_and_validates(call, done, movie):
    out = movie.with_name("old.zarr")
    call.denoise(movie, out, "--ome-zarr", "0.4")
    assert np.array_equal(level(out), level(done))
    assert {".zgroup", ".zattrs"} <= names(out)
    open_ome_zarr(zarr.open_group(str(out), mode="r"), version="0.4")
    call("info", out, "--json")
    assert json.loads(call.out)["provenance"]["status"] == "complete"


def test_slices_are_halved_with_rows_and_columns_where_asked(call, tmp_path):
    recording(tmp_path / "z.tif", (8, 32, 600), imagej=True, metadata={"axes": "ZYX"})
    call.denoise(tmp_path / "z.tif", tmp_path / "o.zarr", "--pyramid", "zyx")
    full, half = level(tmp_path / "o.zarr"), level(tmp_path / "o.zarr", 1)
    assert half.shape == (4, 16, 300)
    means = full.reshape(4, 2, 16, 2, 300, 2).mean(axis=(1, 3, 5))
    assert np.abs(half - means).max() <= 1
    call.denoise(tmp_path / "z.tif", tmp_path / "p.zarr", "--pyramid", "none")
    assert not (tmp_path / "p.zarr" / "s1").exists()
    assert np.array_equal(level(tmp_path / "p.zarr"), full)


def test_chunks_and_threads_never_show(call, done, movie):
    out = movie.with_name("o.zarr")
    call.denoise(movie, out, "--chunks", "1,16,16", "--threads", 3)
    assert zarr.open_array(str(out / "s0"), mode="r").chunks == (1, 16, 16)
    assert np.array_equal(level(out), level(done))


def test_a_preset_may_be_a_file(call, done, movie):
    numbers = {"amplification": 6, "stride": 5, "filter": 3, "k_g": 60, "k_p": 30}
    lines = [f"{key} = {value}" for key, value in {**numbers, "lambda_p": 150}.items()]
    own = movie.with_name("mine.toml")
    own.write_text("\n".join(lines))
    call.denoise(movie, movie.with_name("o.zarr"), "-c", own)
    assert np.array_equal(level(movie.with_name("o.zarr")), level(done))
    assert attributes(movie.with_name("o.zarr"))["preset"]["name"] == "mine"
    own.write_text("\n".join(lines[:-1]))
    assert "lambda_p" in call.refused(movie, movie.with_name("p.zarr"), "-c", own, code=2)


def test_a_number_replaced_is_in_the_provenance(call, done, movie):
    out = movie.with_name("o.zarr")
    call.denoise(movie, out, "--k-g", 80)
    told = attributes(out)
    assert (told["preset"]["k_g"], told["preset"]["k_p"]) == (80, 30)
    assert told["preset"]["name"] != "srdtrans"
    assert not np.array_equal(level(out), level(done))


def test_the_provenance_tells_the_command_the_weights_and_no_folder(done, movie):
    told = attributes(done)
    assert told["command"][:4] == ["fm2s-stack", "denoise", "movie.tif", "done.zarr"]
    weights = stored(done, "weights").astype("<f4")
    assert told["weights_sha256"] == hashlib.sha256(weights.tobytes()).hexdigest()
    assert str(movie.parent) not in (done / "zarr.json").read_text("utf-8")


@pytest.mark.parametrize("name", ["my movie", "Aufnahme_ü_μ", "100%_[a]", "-dash"])
def test_awkward_names_and_relative_paths_work(call, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    Path(name).mkdir()
    recording(tmp_path / name / f"{name}.tif", (3, 32, 32))
    call.denoise(f"./{name}/{name}.tif", f"./{name}/{name}.zarr/")
    assert level(tmp_path / name / f"{name}.zarr").shape == (3, 32, 32)
    call.denoise(f"./{name}/{name}.zarr/", f"./{name}/again.tif", "--frames", ":2")
    assert tifffile.imread(tmp_path / name / "again.tif").shape == (2, 32, 32)


def test_a_link_to_the_input_reads_as_the_input(call, done, movie):
    link = movie.with_name("link.tif")
    link.symlink_to(movie.name)
    call.denoise(link, movie.with_name("o.zarr"))
    digests = {attributes(p)["source"]["digest"] for p in (done, movie.with_name("o.zarr"))}
    assert len(digests) == 1


def test_an_output_is_an_input(call, done, movie):
    call.denoise(done, movie.with_name("twice.zarr"))
    assert level(movie.with_name("twice.zarr")).shape == (12, 48, 48)
    call("info", done)
    assert "made by fm2s-stack" in call.out
    assert "movie.tif" in call.out


@pytest.mark.parametrize("name", ["o.tif", "o.png"])
def test_info_tells_what_made_an_exported_file(call, tmp_path, name):
    image = recording(tmp_path / "image.tif", (48, 48))
    call("info", image)
    assert "made by" not in call.out
    call.denoise(image, tmp_path / name, "--k-g", 80)
    call("info", tmp_path / name, "--json")
    told = json.loads(call.out)["provenance"]
    assert told["command"][:4] == ["fm2s-stack", "denoise", "image.tif", name]
    assert told["preset"]["k_g"] == 80


def test_info_tells_of_an_input_and_what_a_run_would_cost(call, movie):
    call("info", movie, "--json")
    told = json.loads(call.out)
    assert (told["shape"], told["dtype"]) == ([12, 48, 48], "uint16")
    assert told["provenance"] is None
    assert told["run"]["disk_bytes"] == 12 * 48 * 48 * 2
    assert told["run"]["projected_bytes"] > 0


def test_the_presets_are_listed_with_the_published_numbers(call):
    call("presets", "--json")
    presets = {preset["name"]: preset for preset in json.loads(call.out)}
    assert len(presets) == 16
    assert presets["confocal-avg4"]["k_g"] == 70
    assert presets["twophoton-avg16"]["lambda_p"] == 3800
    assert presets["widefield-avg2"]["filter"] == 11
    call("presets")
    assert len(call.out.splitlines()) == 17


def test_a_simulated_movie_is_quick_to_denoise_and_stands_beside_its_truth(call, tmp_path):
    call("simulate", tmp_path / "m.tif", "--frames", 4, "--size", "32x40", "--quiet")
    assert (call.out, call.err) == ("", "")
    assert tifffile.imread(tmp_path / "m.tif").shape == (4, 32, 40)
    assert tifffile.imread(tmp_path / "m_truth.tif").shape == (4, 32, 40)
    call("simulate", tmp_path / "m.tif", "--frames", 4, "--size", 32, code=1)
    assert "m_truth.tif exists" in call.err
    call.denoise(tmp_path / "m.tif", tmp_path / "o.zarr")
    assert level(tmp_path / "o.zarr").shape == (4, 32, 40)
