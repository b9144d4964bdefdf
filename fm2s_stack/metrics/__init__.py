"""Measures of a denoised recording: against its truth, and without one.

Frames are arrays of any real dtype, computed in float64. Movies may be arrays or any
iterables of frames, such as generators: they are gone through once, a frame at a time.
"""

from fm2s_stack.metrics.bias import (
    IntensityBias,
    IntensityBins,
    Saturation,
    intensity_bias,
    intensity_edges,
    sampled,
    saturation,
)
from fm2s_stack.metrics.cells import (
    CorrelationChange,
    Crosstalk,
    crosstalk,
    pairwise_change,
    region_correlation,
)
from fm2s_stack.metrics.events import (
    Estimate,
    Event,
    Leakage,
    find_events,
    isolated,
    leakage,
    lively,
    peak_kept,
    slope_kept,
)
from fm2s_stack.metrics.movie import (
    Ends,
    FrameMoments,
    FrameSums,
    ends,
    flicker,
    frame_moments,
    frame_si_psnr,
    movie_si_psnr,
)
from fm2s_stack.metrics.pixels import PixelMoments, trace_correlation
from fm2s_stack.metrics.planes import psnr, si_psnr, ssim
from fm2s_stack.metrics.regions import (
    RegionTraces,
    adjacent_pairs,
    discs,
    find_regions,
    region_ids,
    region_traces,
)
from fm2s_stack.metrics.residual import Dynamic, Static, Whiteness
from fm2s_stack.metrics.rings import RingCorrelation, ring_correlation, rings_of
from fm2s_stack.metrics.sample import Recording, Sample, choose_sample
from fm2s_stack.metrics.trust import doubts_of, trust_line
from fm2s_stack.metrics.truth import (
    AgainstTruth,
    CellMeasures,
    TruthPass,
    against_truth,
    cell_measures,
)
from fm2s_stack.metrics.without_truth import FlatNoise, Resolution, WithoutTruth, without_truth

__all__ = [
    "AgainstTruth",
    "CellMeasures",
    "CorrelationChange",
    "Crosstalk",
    "Dynamic",
    "Ends",
    "Estimate",
    "Event",
    "FlatNoise",
    "FrameMoments",
    "FrameSums",
    "IntensityBias",
    "IntensityBins",
    "Leakage",
    "PixelMoments",
    "Recording",
    "RegionTraces",
    "Resolution",
    "RingCorrelation",
    "Sample",
    "Saturation",
    "Static",
    "TruthPass",
    "Whiteness",
    "WithoutTruth",
    "adjacent_pairs",
    "against_truth",
    "cell_measures",
    "choose_sample",
    "crosstalk",
    "discs",
    "doubts_of",
    "ends",
    "find_events",
    "find_regions",
    "flicker",
    "frame_moments",
    "frame_si_psnr",
    "intensity_bias",
    "intensity_edges",
    "isolated",
    "leakage",
    "lively",
    "movie_si_psnr",
    "pairwise_change",
    "peak_kept",
    "psnr",
    "region_correlation",
    "region_ids",
    "region_traces",
    "ring_correlation",
    "rings_of",
    "sampled",
    "saturation",
    "si_psnr",
    "slope_kept",
    "ssim",
    "trace_correlation",
    "trust_line",
    "without_truth",
]
