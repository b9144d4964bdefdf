"""FM2S zero-shot denoising of large microscopy stacks.

The public names load what they need when first used, so that importing the package is quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fm2s_stack.check.repair import repair_output
    from fm2s_stack.check.verify import verify_output
    from fm2s_stack.fm2s.denoiser import Denoiser
    from fm2s_stack.job.noise import measure_noise
    from fm2s_stack.noise_model import NoiseModel
    from fm2s_stack.pipeline import denoise_stack, fit_stack, load_denoisers, prepare_stack
    from fm2s_stack.stack.base import Stack
    from fm2s_stack.stack.open import open_stack

__version__ = "0.1.0"
__all__ = [
    "Denoiser",
    "NoiseModel",
    "Stack",
    "__version__",
    "denoise_stack",
    "fit_stack",
    "load_denoisers",
    "measure_noise",
    "open_stack",
    "prepare_stack",
    "repair_output",
    "verify_output",
]

_HOMES = {
    "Denoiser": "fm2s_stack.fm2s.denoiser",
    "NoiseModel": "fm2s_stack.noise_model",
    "Stack": "fm2s_stack.stack.base",
    "denoise_stack": "fm2s_stack.pipeline",
    "fit_stack": "fm2s_stack.pipeline",
    "load_denoisers": "fm2s_stack.pipeline",
    "measure_noise": "fm2s_stack.job.noise",
    "open_stack": "fm2s_stack.stack.open",
    "prepare_stack": "fm2s_stack.pipeline",
    "repair_output": "fm2s_stack.check.repair",
    "verify_output": "fm2s_stack.check.verify",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
