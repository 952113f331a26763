"""What an action is given, and what it returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Fields = Mapping[str, str]


@dataclass(frozen=True)
class Done:
    """What an action has done, and the page to go to next, if another."""

    text: str
    next: str = ""
