"""What a model answers about one image: its classes, ranked. Needs no torch, so that a client can hold one too."""

from __future__ import annotations

from dataclasses import dataclass

NONE_OF_THESE = "none of these"


@dataclass(frozen=True)
class RankedClass:
    """One class with its probability from 0 to 1; `label` is the class folder's name."""

    class_name: str
    label: str
    probability: float

    def to_dict(self) -> dict[str, str | float]:
        return {"class_name": self.class_name, "label": self.label, "probability": self.probability}


@dataclass(frozen=True)
class Prediction:
    """All classes of one image, best first.

    `known` is False when the best probability lies below the model's `min_confidence`: the answer is "none of these".
    """

    ranked: tuple[RankedClass, ...]
    known: bool = True

    def top(self, count: int = 5) -> list[RankedClass]:
        """The `count` most probable classes."""
        return list(self.ranked[:count])

    @property
    def best(self) -> RankedClass:
        return self.ranked[0]

    def __str__(self) -> str:
        return f"{self.best.class_name} ({self.best.probability:.1%})" if self.known else NONE_OF_THESE
