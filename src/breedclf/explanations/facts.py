"""What is said of an explanation beside its map, whichever process made it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ExplanationFacts:
    """The facts of one explanation, in JSON and in notebooks.

    Attributes:
        class_name: the explained class, as shown to people.
        label: the name of its class folder.
        other: the class that it is compared with; None for one class's own map.
        method: how the map was made.
        is_exact: whether its values are the contributions to the score.
        score: the class's score, or the difference of both scores.
        border_share: the share of the positive values near the border, 0 to 1.
    """

    class_name: str
    label: str
    other: str | None
    method: str
    is_exact: bool
    score: float
    border_share: float

    @property
    def compared(self) -> str:
        """The explained class, and the one it is compared with.

        Example:
            >>> ExplanationFacts("Ant", "ant", "Bee", "Grad-CAM", False, 1.0, 0.2).compared
            'Ant and not Bee'
        """
        return self.class_name if self.other is None else f"{self.class_name} and not {self.other}"

    def to_dict(self) -> dict[str, Any]:
        """The facts as JSON values."""
        return {
            "class_name": self.class_name,
            "label": self.label,
            **({} if self.other is None else {"other": self.other}),
            "method": self.method,
            "exact": self.is_exact,
            "score": self.score,
            "border_share": self.border_share,
        }
