"""Numbers with their nouns."""

from __future__ import annotations


def counted(number: int, one: str) -> str:
    """A number and what it counts.

    Example:
        >>> counted(1, "group"), counted(1_200, "group")
        ('1 group', '1,200 groups')
    """
    return f"{number:,} {one}{'' if number == 1 else 's'}"
