"""Small valid inputs that the fuzzing of the readers starts from, the same bytes every time."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tifffile
import zarr
from tiff_tools import write_imagej_with_one_directory
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec, GzipCodec, ShardingCodec, ZstdCodec

# No pixel is zero: a zero in what is read was stored by a mutation, or by nobody.
PIXELS = np.random.default_rng(5).integers(1, 4000, (6, 24, 20), dtype=np.uint16)
FLOATS = PIXELS.astype(np.float32) / 7
VOLUMES = PIXELS.reshape(3, 2, 24, 20)
OME_UUID = "urn:uuid:00000000-0000-0000-0000-000000000000"
GREY = {"photometric": "minisblack"}

Writer = Callable[[Path], object]  # writes into the folder of one seed


def write_seeds(folder: Path) -> None:
    """Every generated seed, a folder each."""
    for name, writer in (TIFFS | ZARRS | OTHERS).items():
        (folder / name).mkdir(parents=True)
        writer(folder / name)


def copy_real_seeds(data: Path, folder: Path) -> None:
    """Small files of the real recordings, a folder each."""
    for name, source in REAL.items():
        if (data / source).is_dir():
            shutil.copytree(data / source, folder / name / (data / source).name)
        else:
            (folder / name).mkdir(parents=True)
            shutil.copyfile(data / source, folder / name / (data / source).name)
        for copied in (folder / name).rglob("*"):
            copied.chmod(0o755 if copied.is_dir() else 0o644)


def entry(folder: Path) -> Path:
    """What to open in the folder of a seed: its zarr, companion or XML, else its first file."""
    names = sorted(p for p in folder.iterdir() if not p.name.startswith("."))
    for suffix in (".zarr", ".companion.ome", ".xml"):
        found = [p for p in names if p.name.endswith(suffix)]
        if found:
            return found[0]
    return entry(names[0]) if names[0].is_dir() else names[0]


def _stack(array: np.ndarray = PIXELS, **how: object) -> Writer:
    return lambda folder: tifffile.imwrite(folder / "a.tif", array, **(GREY | how))


def _pages(array: np.ndarray = PIXELS, *, big: bool = False, order: str = "<", **how) -> Writer:
    def writer(folder: Path) -> None:
        with tifffile.TiffWriter(folder / "a.tif", bigtiff=big, byteorder=order) as tiff:
            for page in array:
                tiff.write(page, contiguous=False, metadata=None, software=False, **(GREY | how))

    return writer


def _scanimage(folder: Path) -> None:
    said = {"hChannels.channelSave": "[1;2]", "hFastZ.enable": "false"}
    said |= {"hRoiManager.scanFrameRate": "30", "hStackManager.enable": "false"}
    software = "\n".join(f"SI.{key} = {value}" for key, value in said.items())
    tags = [(305, 2, None, software, True)]
    with tifffile.TiffWriter(folder / "a.tif", bigtiff=True) as tiff:
        for i, page in enumerate(PIXELS.astype(np.int16) - 2000):
            text = f"frameNumbers = {i // 2 + 1}\nframeTimestamps_sec = {i // 2 / 30:.6f}\n"
            how = {"metadata": None, "software": False, "extratags": tags, "description": text}
            tiff.write(page, contiguous=False, **GREY, **how)


def _imagej_one_directory(folder: Path) -> None:
    start = write_imagej_with_one_directory(folder / "a.tif", 6, 16)
    with (folder / "a.tif").open("r+b") as file:
        file.seek(start)
        file.write(np.ascontiguousarray(PIXELS[:, :16, :16]).astype(">u2").tobytes())


def _ome_two_files(folder: Path) -> None:
    blocks = "".join(
        f'<TiffData FirstT="{t}" IFD="{t % 3}" PlaneCount="1">'
        f'<UUID FileName="{"ab"[t // 3]}.ome.tif">urn:uuid:{t // 3}</UUID></TiffData>'
        for t in range(6)
    )
    xml = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
        '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" '
        'SizeX="20" SizeY="24" SizeZ="1" SizeC="1" SizeT="6" PhysicalSizeX="0.5">'
        f'<Channel ID="c" Name="GFP"/>{blocks}</Pixels></Image></OME>'
    )
    how = {"metadata": None, "contiguous": False, **GREY}
    for name, pages, text in (("a", PIXELS[:3], xml), ("b", PIXELS[3:], None)):
        with tifffile.TiffWriter(folder / f"{name}.ome.tif", ome=False) as tiff:
            for i, page in enumerate(pages):
                tiff.write(page, description=None if i else text, **how)


def _bruker(folder: Path) -> None:
    frames = ""
    for i, page in enumerate(PIXELS):
        tifffile.imwrite(folder / f"f{i}.tif", page, metadata=None, **GREY)
        file = f'<File channel="1" channelName="Ch1" page="1" filename="f{i}.tif"/>'
        frames += f'<Frame relativeTime="{i / 30:.4f}" absoluteTime="{i / 30:.4f}">{file}</Frame>'
    sequence = f'<Sequence type="TSeries Timed Element" cycle="1">{frames}</Sequence>'
    (folder / "a.xml").write_text(f'<?xml version="1.0"?><PVScan version="5.4">{sequence}</PVScan>')


def _zarr(
    version: str,
    chunks: tuple[int, ...],
    *,
    shards: tuple[int, ...] | None = None,
    ours: bool = False,
    **how: object,
) -> Writer:
    def writer(folder: Path) -> None:
        form = 2 if version == "0.4" else 3
        group = zarr.open_group(str(folder / "a.zarr"), mode="w", zarr_format=form)
        like = {"shape": VOLUMES.shape, "dtype": "u2", "chunks": chunks, "shards": shards}
        group.create_array("s0", **like, **how)[...] = VOLUMES
        axes = [{"name": "t", "type": "time", "unit": "second"}]
        axes += [{"name": a, "type": "space", "unit": "micrometer"} for a in "zyx"]
        scale = [{"type": "scale", "scale": [0.1, 2.0, 0.5, 0.5]}]
        dataset = {"path": "s0", "coordinateTransformations": scale}
        ome = {"multiscales": [{"axes": axes, "datasets": [dataset], "version": version}]}
        group.attrs.update(ome if form == 2 else {"ome": {**ome, "version": version}})
        if ours:
            group.attrs["fm2s_stack"] = {"status": "complete"}
        _forget_times(folder)

    return writer


def _forget_times(folder: Path) -> None:
    """Take the time of writing out of gzip's headers."""
    for file in folder.rglob("*"):
        if file.is_file() and file.read_bytes()[:2] == b"\x1f\x8b":
            data = file.read_bytes()
            file.write_bytes(data[:4] + bytes(4) + data[8:])


def _plain_zarr(folder: Path) -> None:
    """Inner chunks without checksum, an index without checksum at the start of each shard."""
    inner = ShardingCodec(
        chunk_shape=(1, 12, 20),
        codecs=[BytesCodec()],
        index_codecs=[BytesCodec()],
        index_location="start",
    )
    array = zarr.create_array(
        str(folder / "a.zarr"), shape=PIXELS.shape, chunks=(3, 24, 20), dtype="u2",
        serializer=inner, compressors=None, filters=None, dimension_names=("t", "y", "x"),
    )  # fmt: skip
    array[...] = PIXELS


def _crc_zarr(folder: Path) -> None:
    array = zarr.create_array(
        str(folder / "a.zarr"), shape=PIXELS.shape, chunks=(2, 24, 20), dtype="u2",
        compressors=[Crc32cCodec()], dimension_names=("z", "y", "x"),
    )  # fmt: skip
    array[...] = PIXELS


def _png(folder: Path) -> None:
    from PIL import Image

    Image.fromarray((PIXELS[0] // 16).astype(np.uint8)).save(folder / "a.png")


TIFFS: dict[str, Writer] = {
    "contiguous": _stack(),
    "imagej": _stack(VOLUMES, imagej=True, metadata={"axes": "TZYX", "finterval": 0.1}),
    "imagej-one-directory": _imagej_one_directory,
    "ome": lambda folder: tifffile.imwrite(
        folder / "a.ome.tif", VOLUMES, ome=True, metadata={"axes": "TZYX", "UUID": OME_UUID}, **GREY
    ),
    "ome-two-files": _ome_two_files,
    "shaped-zlib": _stack(compression="zlib"),
    "pages": _pages(),
    "pages-big-endian": _pages(order=">"),
    "pages-bigtiff": _pages(big=True),
    "strips": _pages(rowsperstrip=7),
    "lzw": _pages(compression="lzw", rowsperstrip=9),
    "deflate-predictor": _pages(compression="zlib", predictor=True, rowsperstrip=10),
    "zstd": _pages(compression="zstd"),
    "packbits": _pages(compression="packbits"),
    "float-predictor": _pages(FLOATS, compression="zlib", predictor=True),
    "tiled-lzw": _pages(compression="lzw", tile=(16, 16)),
    "tiled": _pages(tile=(16, 16)),
    "float16": _pages(FLOATS.astype(np.float16)),
    "jpeg": _pages((PIXELS // 16).astype(np.uint8), compression="jpeg"),
    "scanimage": _scanimage,
}
ZARRS: dict[str, Writer] = {
    "zarr2-blosc": _zarr("0.4", (1, 1, 12, 20)),
    "zarr2-raw": _zarr("0.4", (1, 1, 24, 20), compressors=None),
    "zarr3-zstd": _zarr("0.5", (1, 1, 12, 20), compressors=[ZstdCodec()]),
    "zarr3-blosc": _zarr("0.5", (1, 2, 12, 20), compressors=[BloscCodec()]),
    "zarr3-gzip": _zarr("0.5", (1, 1, 24, 20), compressors=[GzipCodec()]),
    "zarr3-raw": _zarr("0.5", (1, 1, 24, 20), compressors=None),
    "zarr3-sharded": _zarr("0.5", (1, 1, 12, 20), shards=(2, 2, 24, 20)),
    "zarr3-sharded-raw": _zarr("0.5", (1, 1, 12, 20), shards=(2, 2, 24, 20), compressors=None),
    "zarr3-ours": _zarr("0.5", (1, 1, 24, 20), shards=(1, 2, 24, 20), ours=True),
    "zarr3-plain-sharded": _plain_zarr,
    "zarr3-crc": _crc_zarr,
}
OTHERS: dict[str, Writer] = {"bruker": _bruker, "png": _png}
REAL = {
    "real-ome": "tiff/ome/single-channel.ome.tif",
    "real-ome-companion": "tiff/ome/companion",
    "real-ome-master": "tiff/ome/master",
    "real-float64": "tiff/codecs/gradient-1c-64b-float.tiff",
    "real-float16": "tiff/codecs/random-fp16.tiff",
    "real-zstd": "tiff/codecs/int16_zstd.tif",
    "real-int16": "tiff/codecs/int16.tif",
    "real-float-predictor": "tiff/codecs/predictor-3-gray-f32.tif",
    "real-scanimage": "tiff/scanimage_int16_negative.tif",
    "real-zarr2": "omezarr/blobs_image_v04.ome.zarr",
    "real-zarr3": "omezarr/blobs_image_v05.ome.zarr",
}
