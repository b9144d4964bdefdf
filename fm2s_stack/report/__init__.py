"""Pictures."""

from fm2s_stack.report.before_after import before_after_png

__all__ = ["before_after_png"]
