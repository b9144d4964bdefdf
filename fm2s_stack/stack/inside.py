"""What an input names or links to lies in its own folder, or is not followed."""

from __future__ import annotations

from pathlib import Path

from fm2s_stack.errors import StackUnreadable


def refuse_link_out(path: Path, folder: Path) -> None:
    """Refuse what is reached through a link that leads out of a folder.

    A folder may itself be reached through links: what counts is where both really lie.

    Parameters
    ----------
    path
        A file or folder, in `folder` by its name.
    folder
        Of the input.

    Raises
    ------
    StackUnreadable
        If `path` really lies elsewhere, or its links go round in a circle.
    """
    try:
        place = path.resolve(strict=False)
    except (OSError, RuntimeError) as error:  # Python 3.11 raises RuntimeError for a circle
        raise StackUnreadable(f"{path}: a link that leads nowhere ({error})") from error
    if not place.is_relative_to(folder.resolve()):
        raise StackUnreadable(
            f"{path}: a link to {place}, out of the folder {folder}; not followed: put a copy of "
            "the data in its place"
        )
