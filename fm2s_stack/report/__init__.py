"""Pictures."""

from fm2s_stack.report.before_after import before_after_png
from fm2s_stack.report.noise_plot import noise_png

__all__ = ["before_after_png", "noise_png"]
