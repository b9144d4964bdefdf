"""What must be reached, and whether it was. Pure: figures in, verdicts out."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from quality_measures import Figures, NoiseCheck
from quality_methods import AUTO, CAUSAL, NEIGHBOURS
from quality_recordings import Kind, Source

Value = float | None


@dataclass(frozen=True)
class Measured:
    """Everything that was measured on one recording."""

    name: str  #: of the recording
    kind: Kind  #: movie, stack or image
    source: Source  #: where it is from
    preset: str  #: the published one that is meant for it
    figures: dict[str, Figures] = field(default_factory=dict)  #: by method
    noise: NoiseCheck | None = None  #: of simulated recordings
    noise_missing: str = ""  #: why there is none

    def value(self, method: str, figure: str) -> Value:
        """A figure of a method, or None."""
        found = self.figures.get(method)
        return None if found is None else getattr(found, figure)

    def over(self, method: str, other: str, figure: str) -> Value:
        """By how much a method's figure exceeds another's."""
        a, b = self.value(method, figure), self.value(other, figure)
        return None if a is None or b is None else a - b

    def times(self, method: str, other: str, figure: str) -> Value:
        """A method's figure as a multiple of another's."""
        a, b = self.value(method, figure), self.value(other, figure)
        return None if a is None or not b else a / b


@dataclass(frozen=True)
class Rule:
    """A figure that must be reached."""

    name: str  #: what it is
    of: Callable[[Measured], Value]  #: the figure of one recording
    where: Callable[[Measured], bool]  #: the recordings that it is meant for
    over: Literal["each", "mean", "median"]  #: what of them is held to the limit
    side: Literal["above", "least", "most"]  #: how it is bounded
    limit: float  #: the bound, in `unit`
    unit: str = ""  #: as printed
    scale: float = 1.0  #: the figures' unit in `unit`

    @property
    def required(self) -> str:
        """The bound in words."""
        side = {"above": "above", "least": "at least", "most": "at most"}[self.side]
        of = {"each": "each", "mean": "on average", "median": "median"}[self.over]
        return f"{side} {self.limit:g}{self.unit and f' {self.unit}'}, {of}"

    def holds(self, value: float) -> bool:
        """Whether a value is within the bound."""
        if self.side == "most":
            return value <= self.limit
        return value > self.limit if self.side == "above" else value >= self.limit


@dataclass(frozen=True)
class Verdict:
    """A rule, and what was found."""

    name: str  #: of the rule
    required: str  #: in words
    found: str  #: in words
    value: float | None  #: in the unit of the rule
    reached: bool | None  #: None: not measured
    short: tuple[str, ...]  #: recordings that fall short, where each counts


def _movie(one: Measured) -> bool:
    return one.kind == "movie"


def _several(one: Measured) -> bool:
    return one.kind != "image"


def _pair(one: Measured) -> bool:
    return one.source == "data"


def _simulated(one: Measured) -> bool:
    return one.noise is not None or bool(one.noise_missing)


def _over(method: str, other: str, figure: str) -> Callable[[Measured], Value]:
    return lambda one: one.over(method, other, figure)


def _size(method: str, figure: str, less: float = 0.0) -> Callable[[Measured], Value]:
    def of(one: Measured) -> Value:
        value = one.value(method, figure)
        return None if value is None else abs(value - less)

    return of


def _worst_end(one: Measured) -> Value:
    both = [one.value(NEIGHBOURS, end) for end in ("first", "last")]
    return max((abs(end) for end in both if end is not None), default=None)


def _noise(figure: str) -> Callable[[Measured], Value]:
    return lambda one: None if one.noise is None else float(getattr(one.noise, figure))


def _brightness(method: str, title: str) -> tuple[Rule, ...]:
    return (
        Rule(f"{title}: mean bias", _size(method, "bias"), _several, "each", "most", 0.5, "%", 100),
        Rule(
            f"{title}: mean bias in each range of intensity",
            _size(method, "range_bias"), _several, "each", "most", 0.5, "%", 100,
        ),
        # Frame means keep what noise leaves of them: the raw movie's own is no flicker.
        Rule(
            f"{title}: flicker, of the raw movie's",
            lambda one: one.times(method, "raw", "flicker"), _movie, "each", "most", 1.05,
        ),
    )  # fmt: skip


N, C, A = "auto, neighbours", "auto, causal", "auto"
MOVIES = (
    Rule(f"{N}: SI-PSNR over the best 3-D Gaussian",
         _over(NEIGHBOURS, "gauss3d", "si_psnr"), _movie, "each", "above", 0, "dB"),
    Rule(f"{N}: SI-PSNR over the best 3-D Gaussian",
         _over(NEIGHBOURS, "gauss3d", "si_psnr"), _movie, "mean", "least", 1.5, "dB"),
    Rule(f"{N}: pixel traces over the best 3-D Gaussian's",
         _over(NEIGHBOURS, "gauss3d", "pixels"), _movie, "each", "above", 0),
    Rule(f"{N}: region traces over the raw movie's",
         _over(NEIGHBOURS, "raw", "regions"), _movie, "each", "least", 0),
    Rule(f"{N}: event amplitude off by",
         _size(NEIGHBOURS, "amplitude", 1), _movie, "each", "most", 5, "%", 100),
    Rule(f"{C}: leakage before onsets, of the peak",
         lambda one: one.value(CAUSAL, "leakage"), _movie, "each", "most", 1, "%", 100),
    Rule(f"{N}: leakage before onsets, of the peak",
         lambda one: one.value(NEIGHBOURS, "leakage"), _movie, "each", "most", 5, "%", 100),
    Rule(f"{N}: change in pairwise correlation, mean",
         _size(NEIGHBOURS, "change"), _movie, "each", "most", 0.02),
    Rule(f"{N}: first and last frame off the others by",
         _worst_end, _movie, "each", "most", 0.3, "dB"),
)  # fmt: skip
PLANES = (
    Rule(f"{A}: planes' SI-PSNR over srdtrans",
         _over(AUTO, "srdtrans", "planes"), _several, "mean", "least", 2, "dB"),
    Rule(f"{A}: planes' SI-PSNR over the best 2-D Gaussian",
         _over(AUTO, "gauss2d", "planes"), _several, "mean", "least", 1.5, "dB"),
    Rule(f"{A}, pairs of data: SI-PSNR over the matching preset",
         lambda one: one.over(AUTO, one.preset, "planes"), _pair, "each", "least", -0.2, "dB"),
    Rule(f"{A}, pairs of data: over the best 2-D Gaussian",
         _over(AUTO, "gauss2d", "planes"), _pair, "mean", "least", 1, "dB"),
    Rule(f"{A}, pairs of data: over the best 2-D Gaussian",
         _over(AUTO, "gauss2d", "planes"), _pair, "each", "least", 0, "dB"),
)  # fmt: skip
NOISE = (
    Rule("noise: gain off by", _noise("gain_off"), _simulated, "each", "most", 10, "%", 100),
    Rule("noise: intercept off by, of what is allowed",
         _noise("intercept_off"), _simulated, "each", "most", 1),
    Rule("noise: correlation off by", _noise("correlation_off"), _simulated, "each", "most", 0.05),
)  # fmt: skip
COST = (
    Rule(f"{N}: seconds of the fit, of srdtrans's",
         lambda one: one.times(NEIGHBOURS, "srdtrans", "fit_seconds"),
         _movie, "median", "most", 3, "times"),
    Rule(f"{N}: rate disk to disk, of that without neighbours",
         lambda one: one.times(NEIGHBOURS, AUTO, "planes_per_second"),
         _movie, "median", "least", 0.2, "times"),
)  # fmt: skip
RULES = (
    *MOVIES, *PLANES, *NOISE, *_brightness(NEIGHBOURS, N), *_brightness(AUTO, A), *COST,
)  # fmt: skip


def verdicts(measured: Sequence[Measured], rules: Sequence[Rule] = RULES) -> list[Verdict]:
    """Each rule on the recordings that it is meant for."""
    return [judge(rule, [one for one in measured if rule.where(one)]) for rule in rules]


def judge(rule: Rule, meant: Sequence[Measured]) -> Verdict:
    """One rule on recordings; those without the figure are counted, and not more."""
    values = [(rule.of(one), one.name) for one in meant]
    known = [(value * rule.scale, name) for value, name in values if value is not None]
    if not known:
        return Verdict(rule.name, rule.required, "n/a", None, None, ())
    count = f"{len(known)} of {len(meant)}"
    if rule.over == "each":
        value, name = (max if rule.side == "most" else min)(known)
        short = tuple(name for value, name in known if not rule.holds(value))
        found = f"{_number(rule, value)} ({name}; {count})"
        return Verdict(rule.name, rule.required, found, value, not short, short)
    middle = statistics.fmean if rule.over == "mean" else statistics.median
    value = float(middle([value for value, _ in known]))
    found = f"{_number(rule, value)} ({count})"
    return Verdict(rule.name, rule.required, found, value, rule.holds(value), ())


def _number(rule: Rule, value: float) -> str:
    return f"{value:.3g} {rule.unit}".strip()
