import hashlib
import re
import tracemalloc

import numpy as np
import ome_zarr_models
import pytest
import yaozarrs
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from store_tools import layout_of, random_pixels, sealed

from fm2s_stack.errors import OutputError, OutputIncomplete
from fm2s_stack.store import headers as headers_store
from fm2s_stack.store import weights as store

VERSIONS = ("0.4", "0.5")


@pytest.fixture(params=VERSIONS)
def output(request, tmp_path):
    layout = layout_of(tmp_path / "o.zarr", (6, 2, 1, 16, 16), "uint16", axes="tcyx",
                       version=request.param)  # fmt: skip
    layout.create({})
    return tmp_path / "o.zarr"


def networks(shape, seed=1):
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=shape).astype(np.float32)
    return weights, rng.random(shape[:3]).astype(np.float32)


@pytest.mark.parametrize("shape", [(1, 2, 1, 400), (3, 2, 1, 400), (6, 2, 1, 400)])
def test_networks_come_back_bit_for_bit(output, shape):
    weights, loss = networks(shape)
    store.create_weights(output, shape, knots=(0.0, 2.5, 5.0))
    for c in range(shape[1]):
        store.write_weights(output, weights[:, c : c + 1], loss[:, c : c + 1], (0, c, 0))
    fit = store.read_weights(output)
    assert fit.weights.tobytes() == weights.tobytes()
    assert fit.loss.tobytes() == loss.tobytes()
    assert fit.knots.tolist() == [0.0, 2.5, 5.0]
    direct = zarr.open_array(str(output / "fm2s_stack/weights"), mode="r")
    assert direct.dtype == np.float32
    np.testing.assert_array_equal(direct[...], weights)


def test_units_write_their_networks_in_whole_files(output):
    weights, loss = networks((6, 2, 1, 50))
    store.create_weights(output, weights.shape, depth=(4, 1))
    keys = []
    for t, n in ((0, 4), (4, 2)):
        for c in range(2):
            box = np.s_[t : t + n, c : c + 1]
            keys += store.write_weights(output, weights[box], loss[box], (t, c, 0))
    assert len(keys) == len(set(keys)) and all((output / key).is_file() for key in keys)
    np.testing.assert_array_equal(store.read_weights(output).weights, weights)
    with pytest.raises(OutputError, match="whole files"):
        store.write_weights(output, weights[1:3, :1], loss[1:3, :1], (1, 0, 0))


def test_networks_never_written_are_noticed(output):
    weights, loss = networks((6, 2, 1, 50))
    store.create_weights(output, weights.shape, depth=(4, 1))
    store.write_weights(output, weights[:4, :1], loss[:4, :1])
    with pytest.raises(OutputIncomplete, match=r"8 networks are missing.*continues it"):
        store.read_weights(output)


def test_weights_of_a_failed_fit_are_refused(output):
    weights, loss = networks((1, 2, 1, 50))
    weights[0, 1, 0, 3] = np.nan
    store.create_weights(output, weights.shape)
    with pytest.raises(OutputError, match="the fit failed"):
        store.write_weights(output, weights[:, 1:], loss[:, 1:], (0, 1, 0))


def test_an_output_without_networks_says_so(output):
    with pytest.raises(OutputError, match="fm2s_stack/weights"):
        store.read_weights(output)


def test_damaged_networks_are_an_error(tmp_path):
    layout = layout_of(tmp_path / "o.zarr", (6, 2, 1, 16, 16), "uint16", axes="tcyx")
    layout.create({})
    weights, loss = networks((1, 1, 1, 400))
    store.create_weights(tmp_path / "o.zarr", weights.shape)
    key = store.write_weights(tmp_path / "o.zarr", weights, loss)[0]
    file = tmp_path / "o.zarr" / key
    content = bytearray(file.read_bytes())
    content[-40] ^= 4
    file.write_bytes(content)
    with pytest.raises(OutputError, match="damaged"):
        store.read_weights(tmp_path / "o.zarr")


def test_the_hash_of_weights_is_of_their_little_endian_bytes():
    weights, _ = networks((2, 1, 1, 30))
    want = hashlib.sha256(weights.astype("<f4").tobytes()).hexdigest()
    assert store.weights_sha256(weights) == want
    assert store.weights_sha256(weights.astype(">f4")) == want
    assert store.weights_sha256(np.asfortranarray(weights)) == want


@settings(max_examples=25, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 7), st.integers(1, 3), st.integers(1, 7), st.integers(1, 9)),
    depth=st.tuples(st.integers(1, 8), st.integers(1, 8)),
    version=st.sampled_from(VERSIONS),
    data=st.data(),
)
def test_the_hash_of_stored_weights_is_that_of_the_whole_array(
    tmp_path_factory, shape, depth, version, data
):
    path = tmp_path_factory.mktemp("hash") / "o.zarr"
    layout_of(path, (4, 1, 1, 8, 8), "uint8", axes="tyx", version=version).create({})
    store.create_weights(path, shape, depth=depth)
    array = zarr.open_array(str(path / "fm2s_stack/weights"), mode="r+")
    array[...], loss = networks(shape)
    zarr.open_array(str(path / "fm2s_stack/loss"), mode="r+")[...] = loss
    want = hashlib.sha256(networks(shape)[0].astype("<f4").tobytes()).hexdigest()
    assert store.stored_weights_sha256(path) == want
    np.testing.assert_array_equal(store.read_loss(path), loss)
    lost = data.draw(st.sets(st.tuples(*(st.integers(0, n - 1) for n in shape)), min_size=1))
    for index in lost:
        array[index] = np.nan
    with pytest.raises(OutputIncomplete) as streamed:
        store.stored_weights_sha256(path)
    first = min(index[:3] for index in lost)
    count = len({index[:3] for index in lost})
    assert f" {count} networks are missing, the first at (t, c, z) window {first}:" in str(
        streamed.value
    )
    with pytest.raises(OutputIncomplete, match=re.escape(str(streamed.value))):
        store.read_weights(path)


@pytest.mark.parametrize(("shape", "depth"), [((64, 2, 1), (4, 1)), ((1, 2, 64), (1, 4))])
def test_the_hash_of_stored_weights_holds_few_of_them_at_a_time(output, shape, depth):
    weights, _ = networks((*shape, 20_000))
    store.create_weights(output, weights.shape, depth=depth)
    zarr.open_array(str(output / "fm2s_stack/weights"), mode="r+")[...] = weights
    tracemalloc.start()
    try:
        store.stored_weights_sha256(output)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < weights.nbytes / 3


def test_stored_weights_that_are_damaged_or_not_there_have_no_hash(output):
    with pytest.raises(OutputError, match="fm2s_stack/weights is missing"):
        store.stored_weights_sha256(output)
    weights, loss = networks((1, 1, 1, 400))
    store.create_weights(output, weights.shape)
    key = store.write_weights(output, weights, loss)[0]
    (output / key).write_bytes((output / key).read_bytes()[:40])
    with pytest.raises(OutputError, match="fm2s_stack/weights is missing or damaged"):
        store.stored_weights_sha256(output)


def test_frame_times_come_with_the_creation(tmp_path):
    times = tuple(np.cumsum([0.1, 0.2, 0.3, 0.1]).tolist())
    path = tmp_path / "o.zarr"
    sealed(path, random_pixels((4, 1, 1, 8, 8), "uint8"), axes="tyx", timestamps=times)
    assert headers_store.read_timestamps(path) == times
    assert zarr.open_array(str(path / "fm2s_stack/timestamps"), mode="r")[:].tolist() == list(times)


def test_without_frame_times_there_are_none(output):
    assert headers_store.read_timestamps(output) is None
    assert headers_store.read_headers(output) == {}


@settings(max_examples=20, deadline=None)
@given(
    headers=st.dictionaries(
        st.text(max_size=12).filter(lambda s: "/" not in s and "\\" not in s),
        st.text(max_size=50).filter(lambda s: "/" not in s and "\\" not in s),
        max_size=4,
    ),
    version=st.sampled_from(VERSIONS),
)
def test_raw_headers_may_have_any_name_and_text(tmp_path_factory, headers, version):
    path = tmp_path_factory.mktemp("headers") / "o.zarr"
    layout_of(path, (4, 1, 1, 8, 8), "uint8", axes="tyx", version=version).create({})
    headers_store.write_headers(path, headers)
    assert headers_store.read_headers(path) == headers


def test_headers_keep_no_home_folder(output):
    headers_store.write_headers(
        output, {"/home/gwendolyn/x.xml": r"path=C:\Users\Gwendolyn Lee\data\m.tif"}
    )
    assert headers_store.read_headers(output) == {"~/x.xml": r"path=~\data\m.tif"}
    everything = b"".join(p.read_bytes() for p in output.rglob("*") if p.is_file())
    assert b"gwendolyn" not in everything.lower()


@pytest.mark.parametrize("version", VERSIONS)
def test_an_output_with_everything_in_it_still_validates(tmp_path, version):
    path = tmp_path / "o.zarr"
    times = (0.0, 0.1, 0.2, 0.3)
    sealed(path, random_pixels((4, 1, 1, 8, 8), "uint8"), axes="tyx", version=version,
           timestamps=times)  # fmt: skip
    weights, loss = networks((1, 1, 1, 100))
    store.create_weights(path, weights.shape)
    store.write_weights(path, weights, loss)
    headers_store.write_headers(path, {"ScanImage": "SI.hChannels = 1"})
    ome_zarr_models.open_ome_zarr(zarr.open_group(str(path), mode="r"), version=version)
    yaozarrs.validate_zarr_store(path)
