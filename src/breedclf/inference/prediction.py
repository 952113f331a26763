"""A prediction: the ranked classes of one image. Needs no torch, so that clients of an endpoint can use it."""

from __future__ import annotations

from dataclasses import dataclass

from breedclf.errors import ConfigError

NONE_OF_THESE = "none of these"


@dataclass(frozen=True)
class RankedClass:
    """One class with its probability (0 to 1); `class_name` is shown to people, `label` is the class folder's name."""

    class_name: str
    label: str
    probability: float

    def to_dict(self) -> dict[str, str | float]:
        """The class as JSON values."""
        return {"class_name": self.class_name, "label": self.label, "probability": self.probability}


@dataclass(frozen=True)
class Prediction:
    """All classes of one image, most probable first.

    `known` is False if the best probability is below the model's `min_confidence`: the result is "none of these".
    """

    ranked: tuple[RankedClass, ...]
    known: bool = True

    def top(self, count: int = 5) -> list[RankedClass]:
        """The `count` most probable classes, or all of them if there are fewer.

        Raises:
            ConfigError: `count` is negative.

        Example:
            >>> beagle = RankedClass("Beagle", "002.Beagle", 0.9)
            >>> [found.label for found in Prediction((beagle,)).top(5)]
            ['002.Beagle']
        """
        if count < 0:
            raise ConfigError(f"top({count}): the number of classes must be 0 or more")
        return list(self.ranked[:count])

    @property
    def best(self) -> RankedClass:
        """The most probable class."""
        return self.ranked[0]

    def __str__(self) -> str:
        return f"{self.best.class_name} ({self.best.probability:.1%})" if self.known else NONE_OF_THESE
