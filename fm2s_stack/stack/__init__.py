"""What comes in: `open_stack(path) -> Stack`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fm2s_stack.stack.base import Stack
    from fm2s_stack.stack.open import open_stack

__all__ = ["Stack", "open_stack"]


def __getattr__(name: str) -> Any:  # noqa: ANN401
    if name == "open_stack":
        from fm2s_stack.stack.open import open_stack

        return open_stack
    if name == "Stack":
        from fm2s_stack.stack.base import Stack

        return Stack
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
