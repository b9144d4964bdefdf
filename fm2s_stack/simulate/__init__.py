"""A calcium-movie generator: two-photon recordings of cortex with the truth known.

Any frame can be made alone, and is the same whatever is made before it or how long the
movie is, so that memory does not grow with the movie.
"""

from fm2s_stack.simulate.files import SimulationFiles, write_simulation
from fm2s_stack.simulate.motion import displacement
from fm2s_stack.simulate.movie import delta_f_over_f, noisy_frame, truth_frame
from fm2s_stack.simulate.regions import cell_regions
from fm2s_stack.simulate.settings import Simulation

__all__ = [
    "Simulation",
    "SimulationFiles",
    "cell_regions",
    "delta_f_over_f",
    "displacement",
    "noisy_frame",
    "truth_frame",
    "write_simulation",
]
