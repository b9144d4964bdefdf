"""One run of the real pipeline, disk to disk, and what each of its steps took."""

from __future__ import annotations

import time
from pathlib import Path

from bench_process import Result, Terms, device_peak, run_apart, warm_up

from fm2s_stack import denoise_stack, open_stack
from fm2s_stack.memory import peak_memory
from fm2s_stack.progress import Silent

APPLY = "denoise"  #: what the name of the step that the units are has in it
STEPS = ("open", "fit", "apply", "seal")  #: what a run is made of
TOLD = ("fit_seconds", "apply_seconds", "total_seconds", "units")  #: kept of the `Summary`
FIT = "fit"  #: the name of the step that training is


class Steps(Silent):
    """A `Progress` that notes when steps began and ended, and when it was told of progress."""

    def __init__(self) -> None:
        self.spans: dict[str, tuple[float, float]] = {}
        self.told: list[tuple[float, int]] = []
        self._step, self._began = "", 0.0

    def start(self, step: str, total: int, unit: str) -> None:
        """Note the beginning."""
        self._step, self._began = step, time.perf_counter()

    def advance(self, count: int) -> None:
        """Note what was done, and when."""
        if count:
            self.told.append((time.perf_counter(), count))

    def finish(self) -> None:
        """Note the end."""
        self.spans[self._step] = (self._began, time.perf_counter())

    @property
    def apply(self) -> tuple[float, float]:
        """When the units began and ended."""
        return next(span for name, span in self.spans.items() if APPLY in name)

    @property
    def training_seconds(self) -> float:
        """Seconds of the training alone, 0 if there was none."""
        began, ended = self.spans.get(FIT, (0.0, 0.0))
        return ended - began


def run_process(terms: Terms, movie: Path, output: Path) -> Result:
    """`disk_to_disk` in a process of its own; ``start`` is what the steps do not account for.

    That is the interpreter, imports, the device, and the process's end. All add up to
    ``total_seconds``.
    """
    found = run_apart(disk_to_disk, terms, movie=movie, output=output)
    total = found.pop("process_seconds")
    steps = sum(found[f"{step}_seconds"] for step in STEPS)
    return {**found, "start_seconds": total - steps, "total_seconds": total}


def disk_to_disk(terms: Terms, movie: str, output: str) -> Result:
    """Open a movie and denoise it with ``--fit stack``: seconds of each step, and memory.

    ``open`` walks the file's page table; ``fit`` is all that comes before the units (plan,
    intensity map, training, creation of the output); ``apply`` reads, denoises, writes and
    flushes every unit; ``seal`` is all that comes after (comparison with the input's dates, unit
    table, checksums, provenance, removal of the journal). Imports and the waking of the device
    come before them and are counted in none.
    """
    device = warm_up(terms.device)
    ready = time.perf_counter()
    stack = open_stack(movie)
    opened = time.perf_counter()
    steps = Steps()
    summary = denoise_stack(stack, output, terms.fit("stack"), run=terms.run, progress=steps)
    ended = time.perf_counter()
    first, last = steps.apply
    return {
        "frames": summary.planes,
        "open_seconds": opened - ready,
        "fit_seconds": first - opened,
        "training_seconds": steps.training_seconds,
        "apply_seconds": last - first,
        "seal_seconds": ended - last,
        "frames_per_second": summary.planes / (last - first),
        "peak_bytes": peak_memory(),
        "projected_bytes": summary.projected_bytes,
        "device_bytes": device_peak(device),
        "output_bytes": sum(f.stat().st_size for f in Path(output).rglob("*") if f.is_file()),
        "summary": {name: getattr(summary, name) for name in TOLD},
    }
