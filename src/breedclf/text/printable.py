"""Text that is safe to show and store: file and class names may hold undecodable bytes or terminal control codes.

File names that aren't UTF-8 are decoded by Python with lone surrogates, which can't be encoded again.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TextIO

_UNDECODED = re.compile("[\ud800-\udfff]")
# C0 and C1 control characters except tab and newline; line separators that only some programs know; marks that change
# the direction of text, which can make a line read differently.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")


def storable(text: str) -> str:
    """Escape undecodable bytes as `\\xNN`, so that the text can be encoded.

    Example:
        >>> storable("caf\\udce9.jpg")
        'caf\\\\xe9.jpg'
    """
    return _UNDECODED.sub(_escaped, text)


def visible(text: str) -> str:
    """Storable text with control characters and direction marks escaped; newlines and tabs stay.

    Example:
        >>> visible("dog\\x1b[2J")
        'dog\\\\x1b[2J'
    """
    return _CONTROLS.sub(_escaped, storable(text))


def visible_name(name: str) -> str:
    """Visible text on one line, for a name within a text.

    Example:
        >>> visible_name("dog\\ncat")
        'dog\\\\ncat'
    """
    return visible(name.replace("\n", "\\n").replace("\t", "\\t"))


class VisibleFormatter(logging.Formatter):
    """A log formatter whose output can't control a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        return visible(super().format(record))


@contextmanager
def any_encoding() -> Iterator[None]:
    """Make stdout and stderr escape characters that their encoding lacks (`\\U0001f436`)."""
    with ExitStack() as stack:
        for stream in (sys.stdout, sys.stderr):
            if (reconfigure := getattr(stream, "reconfigure", None)) is not None:
                before = stream.errors
                reconfigure(errors="backslashreplace")
                stack.callback(_put_back, stream, before)
        yield


def _put_back(stream: TextIO, errors: str | None) -> None:
    if not stream.closed:
        stream.reconfigure(errors=errors)  # type: ignore[attr-defined]


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
