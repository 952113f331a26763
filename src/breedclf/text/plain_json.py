"""JSON that any parser accepts: NaN and infinite numbers, which JSON doesn't have, become null."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any


def plain_json(document: Any, *, indent: int | None = None) -> str:
    """The document as JSON text, with null for NaN and infinite numbers.

    Example:
        >>> plain_json({"loss": float("nan"), "epoch": 1})
        '{"loss": null, "epoch": 1}'
    """
    return json.dumps(without_nan(document), indent=indent, allow_nan=False)


def without_nan(document: Any) -> Any:
    """A copy of the document with None in place of NaN and infinite numbers."""
    match document:
        case float():
            return document if math.isfinite(document) else None
        case Mapping():
            return {name: without_nan(value) for name, value in document.items()}
        case list() | tuple():
            return [without_nan(value) for value in document]
    return document
