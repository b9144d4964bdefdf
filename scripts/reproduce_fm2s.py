"""Denoise pairs of noisy and true images and print what was gained.

A folder holds ``noisy/NAME.png`` and ``truth/NAME.png``, or ``noisy/*.png`` and one
``truth.png``. The preset follows from the name (``Confocal_``, ``TwoPhoton_``,
``WideField_``; others: srdtrans) unless one is given.

    python scripts/reproduce_fm2s.py ../shared/data/fmd --json fmd.json
    python scripts/reproduce_fm2s.py ../shared/data/fmd --published --cut 160:288 --only MICE
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fm2s_stack import open_stack
from fm2s_stack.engine.device_pool import DevicePool
from fm2s_stack.engine.devices import find_devices
from fm2s_stack.engine.task import fit_planes
from fm2s_stack.fm2s.denoiser import Denoiser
from fm2s_stack.fm2s.intensity import measure_intensity
from fm2s_stack.fm2s.network import COLLAPSED
from fm2s_stack.fm2s.presets import find_preset
from fm2s_stack.fm2s.seeds import stream_seed
from fm2s_stack.metrics import psnr, si_psnr, ssim
from fm2s_stack.settings import DRAWS, FitSettings

PRESETS = {"Confocal": "confocal", "TwoPhoton": "twophoton", "WideField": "widefield"}

Pixels = NDArray[np.generic]


@dataclass(frozen=True)
class Figures:
    """Quality of one image against its truth."""

    psnr: float  #: dB, data range 255
    si_psnr: float  #: dB, after the best affine match, over the truth's range
    ssim: float  #: data range 255


@dataclass(frozen=True)
class Row:
    """What one image gave."""

    image: str  #: file name
    preset: str  #: noise trained against
    noisy: Figures  #: of the input
    denoised: tuple[Figures, ...]  #: one a seed
    fit_seconds: tuple[float, ...]  #: training, one a seed
    apply_seconds: tuple[float, ...]  #: denoising, one a seed

    def mean(self, figure: str) -> float:
        """Mean of a figure over the seeds."""
        return statistics.fmean(float(getattr(found, figure)) for found in self.denoised)

    def spread(self, figure: str) -> float:
        """Largest less smallest value of a figure over the seeds."""
        values = [float(getattr(found, figure)) for found in self.denoised]
        return max(values) - min(values)


def main() -> None:
    """Measure every pair and print a table."""
    given = _arguments()
    settings = {"crop": None if given.published else given.crop, "draws": given.steps}
    devices = DevicePool(find_devices(given.device))
    rows = []
    print(f"{'image':<28}{'preset':<14}{'noisy PSNR/SI/SSIM':>24}{'PSNR':>9}{'spread':>8}"
          f"{'SI-PSNR':>9}{'SSIM':>8}{'fit s':>8}{'apply s':>9}")  # fmt: skip
    for name, noisy, truth in _pairs(given.folder, given.only, given.cut):
        preset = given.preset or PRESETS.get(name.split("_")[0], "srdtrans")
        row = _measure(name, noisy, truth, preset, settings, given.seeds, devices)
        rows.append(row)
        print(_line(row), flush=True)
    if not rows:
        sys.exit(f"{given.folder}: no pairs found")
    if given.json:
        given.json.write_text(json.dumps(_document(given, rows), indent=2) + "\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--preset", help="for every image, instead of by name")
    parser.add_argument("--only", default="", help="images whose names have this in them")
    parser.add_argument("--cut", help="a:b, these rows and columns of every image")
    parser.add_argument("--published", action="store_true", help="train on whole images")
    parser.add_argument("--crop", type=int, default=64, help="side of training crops")
    parser.add_argument("--steps", type=int, default=DRAWS, help="noise draws")
    parser.add_argument("--seeds", default="3407,1,2", help="comma-separated")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", type=Path, help="write the figures here")
    given = parser.parse_args()
    given.seeds = [int(seed) for seed in given.seeds.split(",")]
    given.cut = slice(*map(int, given.cut.split(":"))) if given.cut else slice(None)
    return given


def _pairs(folder: Path, only: str, cut: slice) -> Iterator[tuple[str, Pixels, Pixels]]:
    for path in sorted((folder / "noisy").glob("*.png")):
        if only in path.stem:
            beside = folder / "truth" / path.name
            truth = beside if beside.is_file() else folder / "truth.png"
            yield path.stem, _read(path)[cut, cut], _read(truth)[cut, cut]


def _read(path: Path) -> Pixels:
    return open_stack(path).plane(0, 0, 0)


def _measure(
    name: str,
    noisy: Pixels,
    truth: Pixels,
    preset: str,
    settings: dict[str, int | None],
    seeds: list[int],
    devices: DevicePool,
) -> Row:
    found, fit_times, apply_times = [], [], []
    for seed in seeds:
        fit = FitSettings(find_preset(preset), seed=seed, **settings)  # type: ignore[arg-type]
        blank = Denoiser(
            np.empty((0, COLLAPSED), np.float32),
            np.empty(0),
            measure_intensity(noisy, noisy.dtype),
            fit.published,
        )
        with devices.lease() as device:
            began = time.perf_counter()
            (trained,) = fit_planes(noisy[None], blank, fit, [stream_seed(seed, 0, 0, 0)], device)
            fit_times.append(time.perf_counter() - began)
            began = time.perf_counter()
            result = blank.with_network(trained.weights)(noisy, device=device)
            apply_times.append(time.perf_counter() - began)
        found.append(_figures(result, truth))
    return Row(
        name, preset, _figures(noisy, truth), tuple(found), tuple(fit_times), tuple(apply_times)
    )


def _figures(image: Pixels, truth: Pixels) -> Figures:
    return Figures(psnr(image, truth, 255), si_psnr(image, truth), ssim(image, truth, 255))


def _line(row: Row) -> str:
    noisy = f"{row.noisy.psnr:.2f}/{row.noisy.si_psnr:.2f}/{row.noisy.ssim:.3f}"
    return (
        f"{row.image:<28}{row.preset:<14}{noisy:>24}{row.mean('psnr'):>9.3f}"
        f"{row.spread('psnr'):>8.3f}{row.mean('si_psnr'):>9.3f}{row.mean('ssim'):>8.4f}"
        f"{statistics.fmean(row.fit_seconds):>8.1f}{statistics.fmean(row.apply_seconds):>9.3f}"
    )


def _document(given: argparse.Namespace, rows: list[Row]) -> dict[str, object]:
    return {
        "folder": given.folder.name,
        "seeds": given.seeds,
        "crop": "full" if given.published else given.crop,
        "draws": given.steps,
        "device": given.device,
        "images": [asdict(row) for row in rows],
    }


if __name__ == "__main__":
    main()
