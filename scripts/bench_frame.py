"""`--fit frame` against the published protocol: time of one plane, and SI-PSNR on images."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from bench_process import Result, Terms, device_peak, warm_up
from bench_run import Steps

from fm2s_stack import denoise_stack, fit_stack, open_stack
from fm2s_stack.memory import peak_memory
from fm2s_stack.metrics import si_psnr

#: Name, noisy and true image below the folder of data, preset, and the SI-PSNR in dB that the
#: authors' program reached there.
IMAGES = (
    ("SRDTrans 1", "srdtrans/noisy/1.png", "srdtrans/truth.png", "srdtrans", 39.42),
    (
        "TwoPhoton_MICE_1",
        "fmd/noisy/TwoPhoton_MICE_1.png",
        "fmd/truth/TwoPhoton_MICE_1.png",
        "twophoton",
        34.48,
    ),
)


def fit_frame(terms: Terms, movie: str, output: str, planes: int) -> Result:
    """Seconds a plane of ``--fit frame``: read, train on crops, denoise, write, flush."""
    device = warm_up(terms.device)
    stack, steps = open_stack(movie, frames=(0, planes)), Steps()
    summary = denoise_stack(stack, output, terms.fit("frame"), run=terms.run, progress=steps)
    first, last = steps.apply
    return {
        "planes": summary.planes,
        "seconds": last - first,
        "seconds_per_plane": (last - first) / summary.planes,
        "planes_per_second": summary.planes / (last - first),
        "peak_bytes": peak_memory(),
        "device_bytes": device_peak(device),
    }


def published_protocol(terms: Terms, movie: str, draws: int) -> Result:
    """Seconds of the published protocol on one plane, from its first draws.

    Whole planes (``--fit-crop full``), timed from the end of the first draw to that of the last.
    Preparation, the five steps of stage one and the result are not counted, in its favour.
    """
    warm_up(terms.device)
    stack, steps = open_stack(movie, frames=(0, 1)), Steps()
    settings = terms.fit("frame", crop=None, draws=draws)
    began = time.perf_counter()
    fit_stack(stack, settings, run=terms.run, progress=steps)
    ended = time.perf_counter()
    timed, each = seconds_per_draw(steps.told, began, ended)
    return {
        "timed_draws": timed,
        "seconds_timed": ended - began,
        "seconds_per_draw": each,
        "seconds": each * terms.draws,
        "peak_bytes": peak_memory(),
    }


def seconds_per_draw(
    told: Sequence[tuple[float, int]], began: float, ended: float
) -> tuple[int, float]:
    """Draws that are timed, and seconds of one, from when a fit told of how many.

    Where it told only once, all of it is taken, with what it prepared.
    """
    if len(told) < 2:
        draws = sum(count for _, count in told)
        return draws, (ended - began) / draws
    draws = sum(count for _, count in told[1:])
    return draws, (told[-1][0] - told[0][0]) / draws


def image_quality(
    terms: Terms, noisy: str, truth: str, preset: str, seeds: list[int], folder: str
) -> Result:
    """SI-PSNR of ``--fit frame`` on an image, as 8-bit PNG, for each seed."""
    expected, stack = open_stack(truth).plane(0, 0, 0), open_stack(noisy)
    found = []
    for seed in seeds:
        output = Path(folder) / f"seed_{seed}.png"
        settings = terms.fit("frame", seed=seed, preset=preset)
        denoise_stack(stack, output, settings, run=terms.run)
        found.append(si_psnr(open_stack(output).plane(0, 0, 0), expected))
        output.unlink()
    return {"seeds": seeds, "si_psnr": found, "mean": sum(found) / len(found)}
