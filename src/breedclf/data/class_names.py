"""Class names as they are shown to people, made from labels."""

from __future__ import annotations

import re
from collections.abc import Sequence

_NUMBERED = re.compile(r"(?P<number>\d+|n\d{8})(?P<separator>[._-]+\s*)(?P<name>[^\W\d_].*)", re.DOTALL)


def display_names(labels: Sequence[str]) -> tuple[str, ...]:
    """Class names to show to people: `001.Boston_terrier` becomes `Boston terrier` if all labels are numbered.

    Numbers that don't form a common numbering are kept, and so are those that distinguish two labels.
    """
    shown = [(name or label).replace("_", " ").strip() or label for name, label in _without_numbers(labels)]
    return tuple(name if shown.count(name) == 1 else label for name, label in zip(shown, labels, strict=True))


def _without_numbers(labels: Sequence[str]) -> list[tuple[str, str]]:
    """Pairs of a label without its number and the label; unchanged unless all labels share one numbering."""
    found = [_NUMBERED.fullmatch(label) for label in labels]
    numbered = [match for match in found if match]
    unchanged = [(label, label) for label in labels]
    if len(numbered) < len(labels) or not labels or len({match["separator"] for match in numbered}) > 1:
        return unchanged
    prefixes, rest = [match["number"] for match in numbered], [match["name"] for match in numbered]
    if len(set(prefixes)) < len(labels) or len(set(rest)) < len(labels) or not _is_numbering(numbered):
        return unchanged
    return list(zip(rest, labels, strict=True))


def _is_numbering(numbered: Sequence[re.Match[str]]) -> bool:
    """Whether the numbers are WordNet identifiers, list items (`7.`), zero-padded, or count up from 0 or 1."""
    numbers = [match["number"] for match in numbered]
    wordnet = [number.startswith("n") for number in numbers]
    if any(wordnet):
        return all(wordnet)
    if numbered[0]["separator"].strip() == "." or (numbers[0].startswith("0") and len(set(map(len, numbers))) == 1):
        return True
    counted = sorted(map(int, numbers))
    return counted[0] in (0, 1) and counted == list(range(counted[0], counted[0] + len(counted)))
