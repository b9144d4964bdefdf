import json
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from store_tools import random_pixels, sealed

from fm2s_stack.settings import FitSettings, Preset
from fm2s_stack.store import provenance
from fm2s_stack.store.attributes import read_attributes, set_attributes

PRESET = Preset("srdtrans", 2, 75, 3, 250.0, 30.0, 80.0)


def job(**changes):
    asked = {
        "command": ["fm2s-stack", "denoise", "/data/ann/movie.tif", "out.zarr"],
        "pixel_version": 6,
        "source": {"name": "movie.tif", "size": 10, "mtime": 1.5, "digest": "ab"},
        "selection": {"t_start": 0, "channels": (0,)},
        "settings": {"fit": FitSettings(PRESET)},
        "seed": 3407,
        "preset": PRESET,
    }
    return provenance.describe_job(**(asked | changes))


def result(**changes):
    happened = {
        "weights_sha256": "00",
        "device": "cpu",
        "timings": {"fit": 1.0},
        "loss": np.array([[[0.5]], [[np.nan]]], dtype=np.float32),
        "clipped": np.int64(2),
        "units": np.int64(7),
        "files": [("zarr.json", 10, 2**32 - 1)],
    }
    return provenance.describe_result(**(happened | changes))


def test_every_key_of_the_attribute_is_documented_and_filled(tmp_path):
    sealed(tmp_path / "o.zarr", random_pixels((2, 1, 1, 8, 8), "uint8"), axes="tyx")
    terms = {"intensity": [], "noise": [], "terms": {}, "token": "ab", "plan": {"units": 7}}
    terms["photometry"] = [None]
    set_attributes(tmp_path / "o.zarr", **job(), **terms, **result())
    assert set(read_attributes(tmp_path / "o.zarr")) == set(provenance.KEYS)


def test_the_parts_are_json_and_say_what_was_given():
    told = json.loads(json.dumps({**job(), **result()}, allow_nan=False))
    assert told["command"] == ["fm2s-stack", "denoise", "movie.tif", "out.zarr"]
    assert told["settings"]["fit"]["preset"]["name"] == "srdtrans"
    assert told["selection"]["channels"] == [0]
    assert told["pixel_version"] == 6
    assert told["loss"] == [[[0.5]], [[None]]]
    assert told["units"] == 7 and told["files"] == [["zarr.json", 10, 2**32 - 1]]
    assert told["versions"]["zarr"] == version("zarr") and "torch" in told["versions"]


@pytest.mark.parametrize(("frames", "told"), [(500, 1000), (501, None)])
def test_the_losses_of_many_networks_are_left_to_their_array(frames, told):
    loss = result(loss=np.ones((frames, 2, 1), np.float32))["loss"]
    assert (None if loss is None else np.size(loss)) == told


@pytest.mark.parametrize(
    ("word", "kept"),
    [
        ("/scratch/lab/ann/movie.tif", "movie.tif"),
        ("/scratch/lab/ann/folder/", "folder"),
        ("--cache-dir=/home/ann/cache", "--cache-dir=cache"),
        ("~/movie.tif", "movie.tif"),
        (r"C:\Users\Ann Lee\movie.tif", "movie.tif"),
        (r"\\server\share\ann\movie.tif", "movie.tif"),
        ("D:/data/movie.tif", "movie.tif"),
        ("demo/movie.tif", "movie.tif"),
        ("my data/list.txt", "list.txt"),
        ("../st/x.tif", "x.tif"),
        ("./o/out.zarr/", "out.zarr"),
        (r"o\out.zarr", "out.zarr"),
        ("ann's mice/trial_*.tif", "trial_*.tif"),
        ("file:///data/ann/x.tif", "x.tif"),
        ("--fit-from=ann/first.zarr", "--fit-from=first.zarr"),
        (r"--cache-dir=ann\cache", "--cache-dir=cache"),
        ("-c../ann/own.toml", "-cown.toml"),
        ("-c=ann/own.toml", "-c=own.toml"),
        ("16,256,256", "16,256,256"),
        ("0:100", "0:100"),
        ("trial_*.tif", "trial_*.tif"),
        ("-csrdtrans", "-csrdtrans"),
        ("--units=3/16", "--units=3/16"),
        ("3/16", "3/16"),
        (".", "."),
        ("--token=abc", "--token=***"),
        ("api_key=abc=def", "api_key=***"),
        ("--frames=10:20", "--frames=10:20"),
        ("tcp://ann:pw@host:8786", "tcp://***@host:8786"),
        ("monkey.tif", "monkey.tif"),
        ("-5", "-5"),
    ],
)
def test_a_word_of_the_command_line_keeps_nothing_private(word, kept):
    assert provenance.redact_command([word]) == [kept]


@given(
    folders=st.lists(st.text("ab c.~_üD:", min_size=1), max_size=4),
    name=st.text("xyz*[0]_ ", min_size=1),
    separator=st.sampled_from("/\\"),
    start=st.sampled_from(["", "/", "./", "../", "C:\\", "--option=", "-c"]),
)
def test_no_folder_of_a_path_is_kept_however_it_is_written(folders, name, separator, start):
    word = start + separator.join([*folders, "mice", name])
    (kept,) = provenance.redact_command([word])
    assert kept == (start if start.startswith("-") else "") + name


def test_the_word_after_a_secret_option_is_masked():
    words = ["run", "--password", "hunter2", "--quiet", "--token", "--json", "--steps", "5"]
    kept = ["run", "--password", "***", "--quiet", "--token", "--json", "--steps", "5"]
    assert provenance.redact_command(words) == kept


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("/home/ann/data/x.tif", "~/data/x.tif"),
        ("a='/Users/ann/x'; b", "a='~/x'; b"),
        (r"SI.path = 'C:\Users\Ann Lee\d\x.tif'", r"SI.path = '~\d\x.tif'"),
        (r'{"p": "C:\\Users\\ann\\x"}', r'{"p": "~\\x"}'),
        (r"home C:\Users\ann", "home ~"),
        ("c:/users/ann/x", "~/x"),
        ("/data/home/x", "/data/home/x"),
        ("nothing here", "nothing here"),
    ],
)
def test_home_folders_become_a_tilde(text, kept):
    assert provenance.redact_text(text) == kept


def test_the_own_home_folder_goes_wherever_it_is(monkeypatch):
    monkeypatch.setattr(Path, "home", lambda: Path("/gpfs/people/ann"))
    assert provenance.redact_text("in /gpfs/people/ann/x") == "in ~/x"
    assert provenance.redact_text("in /gpfs/people/anna/x") == "in /gpfs/people/anna/x"


@dataclass(frozen=True)
class Row:
    where: Path
    kind: np.dtype
    names: frozenset


def test_odd_values_become_json():
    row = Row(Path("/home/ann/x"), np.dtype("uint16"), frozenset("ba"))
    assert provenance.jsonable(row) == {"where": "~/x", "kind": "uint16", "names": ["a", "b"]}
    assert provenance.jsonable({1: b"raw", "n": np.array([1, 2]), "b": np.True_}) == {
        "1": "raw",
        "n": [1, 2],
        "b": True,
    }


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    max_leaves=8,
)


@given(value=VALUES)
def test_any_value_becomes_strict_json(value):
    text = json.dumps(provenance.jsonable(value), allow_nan=False)
    assert provenance.jsonable(json.loads(text)) == json.loads(text)
