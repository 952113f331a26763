"""Text that stays text within Markdown: file and class names may contain characters of its syntax."""

from __future__ import annotations

import re

from breedclf.text.printable import visible_name

_SYNTAX = re.compile(r"[\\`*_\[\]<>&#|~$:@!]")
_AT_START = re.compile(r"^(\d*)([-+=.)])(?=[-=\s]|$)")
_LINK = re.compile(r"^(www)\.|(?<=[\s*_~(])(www)\.", re.IGNORECASE)


def markdown_text(name: str) -> str:
    """A name on one line that Markdown shows as it is, also at the start of a line or in a table.

    Example:
        >>> print(markdown_text("1. <b>dog</b> | [cat]"))
        1\\. \\<b\\>dog\\</b\\> \\| \\[cat\\]
    """
    text = _SYNTAX.sub(r"\\\g<0>", visible_name(name).strip())
    text = _LINK.sub(lambda found: f"{found[1] or found[2]}\\.", text)
    return _AT_START.sub(r"\1\\\2", text)


def markdown_table(header: list[str], rows: list[list[str]]) -> str:
    """A table of cells that are Markdown already.

    Example:
        >>> print(markdown_table(["a", "b"], [["1", "2"]]))
        | a | b |
        | --- | --- |
        | 1 | 2 |
    """
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
