"""Settings tried on a small part of a recording, and which of them serves it best."""

from fm2s_stack.preview.part import Part, choose_part
from fm2s_stack.preview.preview import Preview, Tried, preview_stack
from fm2s_stack.preview.setting import MOST_SETTINGS, Setting, default_settings, find_setting

__all__ = [
    "MOST_SETTINGS",
    "Part",
    "Preview",
    "Setting",
    "Tried",
    "choose_part",
    "default_settings",
    "find_setting",
    "preview_stack",
]
