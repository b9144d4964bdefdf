"""Files are for whom the umask says: a group works on one output, from several accounts."""

import os
import stat

import pytest
from cli_tools import recording


@pytest.fixture(params=[0o002, 0o027], ids=oct)
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def modes_below(folder):
    """Names of what has another mode than a plain file or folder would get, with the mode."""
    return {str(path.relative_to(folder)): oct(path.stat().st_mode) for path in folder.rglob("*")}


def expected(folder, umask):
    def mode(path):
        whole = 0o777 if path.is_dir() else 0o666
        return oct(stat.S_IFMT(path.stat().st_mode) | (whole & ~umask))

    return {str(path.relative_to(folder)): mode(path) for path in folder.rglob("*")}


def test_outputs_exports_and_page_tables_obey_the_umask(call, tmp_path, umask):
    movie = recording(tmp_path / "movie.tif", (120, 32, 32), bigtiff=True, compression="zlib")
    work = tmp_path / "work"
    work.mkdir()
    cache = ("--cache-dir", work / "cache")
    call.denoise(movie, work / "out.zarr", *cache)
    call.denoise(movie, work / "out.tif", *cache)
    made = modes_below(work)
    assert any(name.startswith("cache/pages-") for name in made)
    assert made == expected(work, umask)


def test_what_is_left_of_an_unfinished_output_obeys_the_umask(call, movie, tmp_path, umask):
    output = tmp_path / "work" / "out.zarr"
    output.parent.mkdir()
    call.denoise(movie, output, "--prepare")
    call.denoise(movie, output, "--units", "1/1")
    made = modes_below(output.parent)
    assert any(name.endswith(".jsonl") for name in made)
    assert made == expected(output.parent, umask)


def test_scripts_for_slurm_obey_the_umask(call, movie, tmp_path, umask):
    scripts = tmp_path / "scripts"
    call("slurm", movie, tmp_path / "out.zarr", "-c", "srdtrans", "--time", 10,
         "--scripts", scripts)  # fmt: skip
    made = modes_below(scripts)
    assert {"submit.sh", "array.sh"} <= set(made)
    assert made == expected(scripts, umask)
