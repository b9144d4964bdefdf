"""The frozen settings of a run. Every field says what it is, with its unit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fm2s_stack.image import StackAxis

FitMode = Literal["stack", "every", "frame"]
Pyramid = Literal["yx", "zyx", "none"]
OmeZarrVersion = Literal["0.4", "0.5"]
NanPolicy = Literal["refuse", "keep"]
BadFramePolicy = Literal["fail", "previous", "interpolate"]
Precision = Literal["float32", "tf32", "bf16"]

#: Raised when the same input and settings give other pixels; `tests/test_golden.py` notices.
PIXEL_VERSION = 4

DRAWS = 450
CROP = 64
MOST_NEIGHBOURS = 4
STEPS_PER_DRAW = 5
DEFAULT_SEED = 3407


@dataclass(frozen=True)
class Preset:
    """The noise parameters of a microscope (FM2S, arXiv 2412.10031, on a scale of 0 to 1)."""

    name: str  #: as given to ``-c``
    amplification: int  #: lambda: channels the plane is repeated to, 1 or more
    stride: int  #: side of the square patches that share a noise level, pixels
    filter: int  #: side of the median window that makes the target, odd, pixels
    k_g: float  #: strength of the Gaussian noise, times the patch level over 255
    k_p: float  #: strength of the patchwise Poisson noise, photons at the patch level
    lambda_p: float  #: strength of the Poisson noise over the plane, photons at level 1


@dataclass(frozen=True)
class Auto:
    """What stands in place of a preset where the noise is measured on the recording."""

    name: str = "auto"  #: as given to ``-c``
    neighbours: int | None = None  #: planes to each side that a plane is denoised from, 0 to 4;
    #: None: as many as suit the recording
    causal: bool = False  #: from planes before it alone, twice as many
    alone: bool = False  #: each plane as if it were the only one; the recording decides


@dataclass(frozen=True)
class FitSettings:
    """How networks are trained. Every field changes pixels."""

    preset: Preset | Auto = Auto()  #: the noise to train against, or to be measured
    mode: FitMode | None = None  #: one network a channel, one per `every` planes, or one a
    #: plane; None: ``stack`` where there are several planes, else ``frame``
    every: int = 0  #: planes a window has along the stack axis, in mode ``every``
    crop: int | None = CROP  #: side of the training crops, pixels; None: whole planes
    draws: int = DRAWS  #: noise draws, each followed by five steps of Adam
    seed: int = DEFAULT_SEED  #: what every random stream is derived from
    nan: NanPolicy = "refuse"  #: NaN and padding are an error, or come back unchanged
    on_bad_frame: BadFramePolicy = "fail"  #: a plane that cannot be read is an error, or is made
    #: up from the nearest ones that can be

    @property
    def is_planewise(self) -> bool:
        """Whether each plane is denoised by itself by its measured noise; with Auto decided."""
        return isinstance(self.preset, Auto) and self.preset.alone

    @property
    def published(self) -> Preset:
        """The preset, of a fit that has one.

        Raises
        ------
        TypeError
            If the noise is to be measured.
        """
        if isinstance(self.preset, Auto):
            raise TypeError("-c auto has no preset: the noise is measured on the recording")
        return self.preset


@dataclass(frozen=True)
class WriteSettings:
    """What the output looks like."""

    dtype: str | None = None  #: pixel type of the output; None: the input's
    pyramid: Pyramid = "yx"  #: axes halved from level to level
    ome_zarr: OmeZarrVersion = "0.5"  #: NGFF version; 0.4 is zarr 2 and unsharded
    chunks: tuple[int, int, int] | None = None  #: (planes, y, x) of a chunk; None: planned
    precision: Precision = "float32"  #: arithmetic of the networks when planes are denoised;
    #: they are always trained in float32
    overwrite: bool = False  #: replace what stands at the output path


@dataclass(frozen=True)
class RunSettings:
    """Where and how a run happens. No field here changes a pixel on one kind of device."""

    along: StackAxis | None = None  #: stack axis; None: t where there are frames, else z
    device: str = "auto"  #: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``
    memory: int | None = None  #: bytes the process may use; None: what the machine allows
    threads: int | None = None  #: units computed at a time on the CPU; None: the affinity
    units: tuple[int, int] | None = None  #: share i of n of the units, i from 1; None: all
    scheduler: str | None = None  #: address or file of a Dask scheduler; None: no cluster of others
    workers: int | None = None  #: processes of a local Dask cluster; None: threads of this process
