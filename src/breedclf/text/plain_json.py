"""Portable JSON: NaN and infinity become null, and text that no encoding can write is escaped."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from breedclf.text.printable import storable


def plain_json(document: Any, *, indent: int | None = None) -> str:
    """Encode a document as JSON text that any reader accepts.

    Example:
        >>> plain_json({"loss": float("nan"), "epoch": 1})
        '{"loss": null, "epoch": 1}'
    """
    return json.dumps(plain_values(document), indent=indent, allow_nan=False)


def plain_json_parts(documents: Iterable[Any], *, size: int = 100) -> Iterator[str]:
    """The text of `plain_json(list(documents))` in parts of `size` documents, between which other threads may run.

    Example:
        >>> list(plain_json_parts([1, 2, 3], size=2))
        ['[1, 2', ', 3', ']']
    """
    iterator = iter(documents)
    start = "["
    while part := list(islice(iterator, size)):
        yield start + plain_json(part)[1:-1]
        start = ", "
    yield "]" if start == ", " else "[]"


def plain_values(document: Any) -> Any:
    """A copy of a document with None for non-finite numbers, and with storable text, including keys.

    Example:
        >>> plain_values({"caf\\udce9": (float("inf"), 1.5)})
        {'caf\\\\xe9': [None, 1.5]}
    """
    match document:
        case str():
            return storable(document)
        case float():
            return document if math.isfinite(document) else None
        case Mapping():
            return {plain_values(name): plain_values(value) for name, value in document.items()}
        case list() | tuple():
            return [plain_values(value) for value in document]
    return document
