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

# Escape sequences of terminals: colors and cursors (CSI), titles and links (OSC and other strings), and two-byte ones.
_ESCAPES = re.compile(
    r"\x1b\[[0-?]{0,32}[ -/]{0,8}[@-~]|\x1b[\]PX^_][^\x07\x1b\n]{0,2000}(?:\x07|\x1b\\)|\x1b[ -/]{0,4}[0-~]"
)


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


def without_terminal_codes(text: str) -> str:
    """Lines as a terminal would leave them: escape sequences are gone, and of a line that was drawn over, as progress
    bars are, its last state remains. Other control characters are escaped.

    Example:
        >>> without_terminal_codes("10%\\r55%\\r100%\\n\\x1b[31mred\\x1b[0m\\x07")
        '100%\\nred\\\\x07'
    """
    plain = _ESCAPES.sub("", text).replace("\r\n", "\n")
    return visible("\n".join(_last_state(line) if "\r" in line or "\b" in line else line for line in plain.split("\n")))


def _last_state(line: str) -> str:
    states = [state for state in line.split("\r") if state.strip()]
    last = states[-1] if states else ""
    if "\b" not in last:
        return last
    shown: list[str] = []
    for char in last:
        if char != "\b":
            shown.append(char)
        elif shown:
            shown.pop()
    return "".join(shown)


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
