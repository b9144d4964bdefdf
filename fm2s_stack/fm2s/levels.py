"""Grey levels to the unit scale and back on a GPU, with the arithmetic of `IntensityMap`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fm2s_stack.fm2s.intensity import IntensityMap

#: Types that torch lacks or barely knows travel as the signed type of their size.
#: https://github.com/pytorch/pytorch/issues/58734
_CARRIERS: Mapping[np.dtype, np.dtype] = {
    np.dtype(np.uint16): np.dtype(np.int16),
    np.dtype(np.uint32): np.dtype(np.int32),
}


def carrier(dtype: np.dtype) -> np.dtype:
    """The type as which pixels of `dtype` are copied to and from a device."""
    return _CARRIERS.get(dtype, dtype)


@dataclass(frozen=True)
class Levels:
    """Converts on the device that the tensors are on."""

    intensity: IntensityMap | None  #: None: values are on the unit scale on both sides
    source: np.dtype  #: of the pixels that come in
    target: np.dtype  #: of the pixels that go out

    def to_unit(self, carried: Tensor) -> Tensor:
        """Pixels as they were carried, any shape, on the unit scale, float32."""
        values = self._as_numbers(carried)
        if self.intensity is None:
            return values.float()
        wide = torch.float64 if self.source.itemsize > 2 else torch.float32
        low, span = self._constants(carried.device, wide)
        # Divided by a tensor: by a number, CUDA multiplies with the inverse and rounds otherwise.
        return (values.to(wide) - low).div_(span).float()

    def from_unit(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Values of the unit scale as pixels to be carried, and how many were clipped."""
        nothing = torch.zeros((), dtype=torch.int64, device=values.device)
        if self.intensity is None:
            return values, nothing
        low, span = self._constants(values.device, torch.float64)
        levels = values.double().mul_(span).add_(low)
        limits = np.iinfo(self.target) if self.target.kind in "iu" else np.finfo(self.target)
        least, most = float(limits.min), float(limits.max)
        if self.intensity.clamp:
            least, most = max(least, self.intensity.low), min(most, self.intensity.high)
        if self.target.kind in "iu":
            levels.round_()  # half to even, as numpy's rint
        clipped = ((levels < least) | (levels > most)).sum()
        levels.clamp_(least, most)
        if self.target.kind == "f":
            return levels.to(torch_type(self.target)), clipped
        return levels.to(torch.int64).to(torch_type(carrier(self.target))), clipped

    def _as_numbers(self, carried: Tensor) -> Tensor:
        if self.source not in _CARRIERS:
            return carried
        return carried.to(torch.int64).bitwise_and_((1 << 8 * self.source.itemsize) - 1)

    def _constants(self, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        if self.intensity is None:
            raise ValueError("no intensity map")
        low, span = self.intensity.low, self.intensity.high - self.intensity.low
        return (
            torch.full((1,), low, dtype=dtype, device=device),
            torch.full((1,), span, dtype=dtype, device=device),
        )


def torch_type(dtype: np.dtype) -> torch.dtype:
    """What torch calls a pixel type that it has."""
    return torch.from_numpy(np.empty(0, dtype)).dtype
