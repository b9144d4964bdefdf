"""The file with the root's attributes as text: its one spelling, and the checksum in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

KEY = "fm2s_stack"  #: our attribute of the root


def attributes_of(document: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes in a metadata file: zarr 3 keeps them in it, zarr 2 in one of their own."""
    found = document.get("attributes", {}) if "zarr_format" in document else document
    return found if isinstance(found, dict) else {}


def checksum_of(document: Mapping[str, Any]) -> int:
    """crc32c of a document as JSON with sorted keys, without the checksum in it.

    Parameters
    ----------
    document
        With the attribute ``fm2s_stack``.
    """
    import google_crc32c

    attributes = attributes_of(document)
    told = {key: value for key, value in attributes[KEY].items() if key != "checksum"}
    rest = {**attributes, KEY: told}
    whole = {**document, "attributes": rest} if "zarr_format" in document else rest
    text = json.dumps(whole, sort_keys=True, separators=(",", ":"))
    return int(google_crc32c.value(text.encode()))


def text_of(document: Mapping[str, Any]) -> str:
    """The one way a document is written, so that bytes that mean the same are the same."""
    return json.dumps(document, indent=2, allow_nan=False)


def parsed(content: bytes) -> dict[str, Any] | None:
    """The document in a file's bytes; None if they are none as `text_of` writes it.

    A flipped bit can leave the meaning as it was, as that which makes ``1e-6`` to ``1E-6``:
    the spelling is compared, too.
    """
    try:
        document = json.loads(content)
        whole = isinstance(document, dict) and text_of(document).encode() == content
    except ValueError:
        return None
    return document if whole else None


def is_sealed(document: Mapping[str, Any]) -> bool:
    """Whether a document is a whole one of a complete output: its checksum agrees."""
    told = attributes_of(document).get(KEY)
    return (
        isinstance(told, dict)
        and told.get("status") == "complete"
        and told.get("checksum") == checksum_of(document)
    )
