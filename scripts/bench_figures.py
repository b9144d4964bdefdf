"""What is made of the measured: medians, rates, ratios. Pure, JSON in and JSON out."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from bench_process import Result


def main_figures(runs: Sequence[Result]) -> Result:
    """Medians over the rounds; of memory and size the largest."""
    frames = runs[0]["frames"]
    keys = [key for key in runs[0] if key.endswith("_seconds")]
    median: Result = {key: _median(runs, key) for key in keys}
    median["frames_per_second"] = frames / median["apply_seconds"]
    for key in ("peak_bytes", "device_bytes", "output_bytes"):
        known = [run[key] for run in runs if run[key] is not None]
        median[key] = max(known, default=None)
    projected = max(run["projected_bytes"] for run in runs)
    return {
        "frames": frames,
        "median": {**median, "projected_bytes": projected},
        "peak_of_projection": median["peak_bytes"] and median["peak_bytes"] / projected,
        "rounds": list(runs),
    }


def one_round(network: Result, copy: Result, run: Result) -> Result:
    """A round of limits and run: the run's speed as a part of the slower limit's."""
    limit = min(network["frames_per_second"], copy["frames_per_second"])
    return {
        "network": network,
        "copy": copy,
        "disk_frames_per_second": run["frames_per_second"],
        "limit_frames_per_second": limit,
        "ratio": run["frames_per_second"] / limit,
    }


def limit_figures(rounds: Sequence[Result]) -> Result:
    """Medians over the rounds; the ratio is the median of the rounds' own."""
    rates: Result = {
        name: {
            "frames_per_second": _median([one[name] for one in rounds], "frames_per_second"),
            "threads": rounds[0][name]["threads"],
        }
        for name in ("network", "copy")
    }
    slower = min(rates, key=lambda name: float(rates[name]["frames_per_second"]))
    return {**rates, "slower": slower, "ratio": _median(rounds, "ratio"), "rounds": list(rounds)}


def growth_figures(runs: Sequence[Result]) -> Result:
    """How time and memory follow the length of the movie."""
    rows = [{**run, "seconds_per_frame": run["apply_seconds"] / run["frames"]} for run in runs]
    first, last = rows[0], rows[-1]
    peaks = first["peak_bytes"], last["peak_bytes"]
    unknown = None in peaks or len(rows) < 2  # one movie alone shows no growth
    return {
        "rows": rows,
        "time_ratio": last["seconds_per_frame"] / first["seconds_per_frame"],
        "peak_change": None if unknown else abs(peaks[1] / peaks[0] - 1),
    }


def frame_figures(ours: Sequence[Result], published: Sequence[Result]) -> Result:
    """Medians over the rounds; how many times faster is the median of the rounds' own."""
    ratios = [b["seconds"] / a["seconds_per_plane"] for a, b in zip(ours, published, strict=True)]
    return {
        "planes": ours[0]["planes"],
        "seconds_per_plane": _median(ours, "seconds_per_plane"),
        "planes_per_second": _median(ours, "planes_per_second"),
        "published_seconds": _median(published, "seconds"),
        "published_draws": published[0]["timed_draws"],
        "times_faster": statistics.median(ratios),
        "rounds": [{"fit_frame": a, "published": b} for a, b in zip(ours, published, strict=True)],
    }


def _median(rows: Sequence[Result], key: str) -> float:
    return float(statistics.median(row[key] for row in rows))
