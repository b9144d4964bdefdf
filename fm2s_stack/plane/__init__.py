"""The best estimate of a plane that one plane and its measured noise allow: arrays in, arrays out.

Smoothings of several widths and shrunken block transforms at two scales are mixed, with weights
that depend on the local contrast. The weights are fitted on noisy planes alone, by an unbiased
estimate of the error.
"""

from fm2s_stack.plane.denoiser import HALO, TILE, PlaneDenoiser
from fm2s_stack.plane.fit import fit_plane_denoiser
from fm2s_stack.plane.quiet import with_smooth_noise

__all__ = ["HALO", "TILE", "PlaneDenoiser", "fit_plane_denoiser", "with_smooth_noise"]
