"""The parts of the benchmark: what is run how often, and what is made of its figures."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from bench_figures import frame_figures, growth_figures, limit_figures, main_figures, one_round
from bench_frame import IMAGES, fit_frame, image_quality, published_protocol
from bench_limits import copy_limit, network_limit
from bench_movies import Block, simulate, write_movie, write_pages
from bench_others import alternatives, reference
from bench_process import Result, TaskFailed, Terms, run_apart
from bench_run import run_process
from bench_start import start_times

PARTS = ("main", "limits", "others", "growth", "frame", "start")


@dataclass(frozen=True)
class Amounts:
    """How much is measured."""

    frames: tuple[int, ...]  #: lengths of the movies that show growth, frames
    size: int  #: side of a frame, pixels
    repeat: int  #: rounds of what ratios are taken of
    draws: int  #: noise draws of a fit
    block: int  #: frames that are simulated; longer movies repeat them
    truths: int  #: frames whose truth is kept, for SI-PSNR
    slow_frames: int  #: of those, frames for the slow methods
    seconds: float  #: that the network's limit is measured for
    least: int  #: frames that it is measured over at least
    published_draws: int  #: of the published protocol that are timed
    seeds: tuple[int, ...]  #: of the fits whose SI-PSNR is averaged
    pages: int  #: of the file that ``info`` is timed on
    starts: int  #: times that ``--help`` and ``info`` are timed

    @property
    def main(self) -> int:
        """Frames of the main movie: 2,000 where growth has that, else the middle one."""
        return 2000 if 2000 in self.frames else sorted(self.frames)[len(self.frames) // 2]


FULL = Amounts((500, 2000, 8000), 512, 3, 450, 200, 24, 4, 10, 200, 20, (3407, 1, 2), 20_000, 7)
QUICK = Amounts((64, 160), 96, 1, 20, 32, 4, 1, 0.5, 8, 4, (3407,), 200, 1)


@dataclass(frozen=True)
class Bench:
    """Everything that the parts need. Each part returns its piece of the document."""

    terms: Terms  #: what every task runs with
    amounts: Amounts  #: how much is measured
    folder: Path  #: for movies and outputs; removed by whoever made it
    data: Path  #: folder of images with their truth
    reference: Path | None  #: checkout of the authors' program

    @cached_property
    def block(self) -> Block:
        """The simulated frames."""
        say(f"simulating {self.amounts.block} frames of {self.amounts.size} pixels a side")
        return simulate(self.amounts.size, self.amounts.block, self.amounts.truths)

    @cached_property
    def movie(self) -> Path:
        """The main movie."""
        return write_movie(self.folder / "main.tif", self.block, self.amounts.main)

    @cached_property
    def truth(self) -> Path:
        """The truth of its first frames, for numpy."""
        path = self.folder / "truth.npy"
        np.save(path, self.block.truth)
        return path

    @property
    def output(self) -> Path:
        """Where an output goes; what stood there is removed."""
        path = self.folder / "output.zarr"
        shutil.rmtree(path, ignore_errors=True)
        return path

    def rounds(self, with_limits: bool) -> tuple[Result, Result | None]:
        """The parts ``main`` and ``limits``: their runs take turns, since machines drift."""
        movie, amounts, runs, limits = self.movie, self.amounts, [], []
        for number in range(amounts.repeat):
            say(f"round {number + 1} of {amounts.repeat}: {amounts.main} frames, disk to disk")
            network = with_limits and run_apart(
                network_limit, self.terms, movie=movie, seconds=amounts.seconds, least=amounts.least
            )
            runs.append(run_process(self.terms, movie, self.output))
            if network:
                copy = run_apart(copy_limit, self.terms, movie=movie, output=self.output)
                limits.append(one_round(network, copy, runs[-1]))
        return main_figures(runs), limit_figures(limits) if limits else None

    def others(self) -> Result:
        """What a user would pick instead."""
        say("other methods")
        given = {"movie": self.movie, "truth": self.truth}
        found = run_apart(alternatives, self.terms, **given, slow_frames=self.amounts.slow_frames)
        if self.reference is None:
            found["skipped"].append("authors' program: no --reference was given")
            return found
        say("the authors' program: it may take half an hour")
        try:
            row = run_apart(reference, self.terms, program=self.reference, **given)
            found["rows"].append(row)
        except TaskFailed as failed:
            found["skipped"].append(str(failed))
        return found

    def growth(self) -> Result:
        """The same run for every length of movie."""
        runs = []
        for frames in sorted(self.amounts.frames):
            say(f"growth: {frames} frames")
            path = write_movie(self.folder / f"{frames}.tif", self.block, frames)
            runs.append(run_process(self.terms, path, self.output))
            path.unlink()
        return growth_figures(runs)

    def frame(self) -> Result:
        """One plane with ``--fit frame`` and as published, in turns; images of known truth."""
        planes = 64 if self.terms.on_gpu else 1
        ours, published = [], []
        for number in range(self.amounts.repeat):
            say(f"round {number + 1} of {self.amounts.repeat}: --fit frame and as published")
            ours.append(
                run_apart(
                    fit_frame, self.terms, movie=self.movie, output=self.output, planes=planes
                )
            )
            draws = self.amounts.published_draws
            published.append(
                run_apart(published_protocol, self.terms, movie=self.movie, draws=draws)
            )
        images, skipped = self._images()
        return {**frame_figures(ours, published), "images": images, "skipped": skipped}

    def _images(self) -> tuple[dict[str, Result], list[str]]:
        found, skipped = {}, []
        for name, noisy, truth, preset, published in IMAGES:
            paths = self.data / noisy, self.data / truth
            if not all(path.is_file() for path in paths):
                skipped.append(f"{name}: {noisy} and its truth are not in the folder of data")
                continue
            say(f"--fit frame on {name}")
            row = run_apart(
                image_quality, self.terms, noisy=paths[0], truth=paths[1], preset=preset,
                seeds=self.amounts.seeds, folder=self.folder,
            )  # fmt: skip
            row |= {"preset": preset, "published": published}
            found[name] = {**row, "below": published - row["mean"]}
        return found, skipped

    def start(self) -> Result:
        """Whole processes of ``--help`` and ``info``."""
        say("--help and info")
        pages, cache = self.amounts.pages, self.folder / "cache"
        path = write_pages(self.folder / "pages.tif", pages)
        return start_times(path, pages, self.amounts.starts, cache)


def say(text: str) -> None:
    """Tell what is being done, on stderr."""
    print(text, file=sys.stderr, flush=True)
