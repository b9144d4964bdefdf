"""The noise of a recording, measured from its own pixels: arrays in, numbers out.

The detector model is that of photon transfer (Janesick, "Photon Transfer", SPIE 2007; Foi et
al., IEEE Trans. Image Processing 17, 2008): the variance of a pixel is linear in its mean level.
"""

from fm2s_stack.noise_model.image import measure_image
from fm2s_stack.noise_model.model import LevelPoint, NoiseModel
from fm2s_stack.noise_model.motion import Motion, measure_motion
from fm2s_stack.noise_model.movie import measure_movie

__all__ = ["LevelPoint", "Motion", "NoiseModel", "measure_image", "measure_motion", "measure_movie"]
