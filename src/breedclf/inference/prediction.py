"""A prediction: the ranked classes of one image. Needs no torch, so that clients of an endpoint can use it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

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

    def __str__(self) -> str:
        return f"{self.class_name} ({self.probability:.1%})"


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

    def to_dict(self, top: int | None = None) -> dict[str, Any]:
        """The prediction as `breedclf predict --json` prints it: `known`, and `predictions` best first.

        Args:
            top: how many classes; all if None.

        Example:
            >>> Prediction((RankedClass("Beagle", "002.Beagle", 0.9),)).to_dict()
            {'known': True, 'predictions': [{'class_name': 'Beagle', 'label': '002.Beagle', 'probability': 0.9}]}
        """
        ranked = self.ranked if top is None else self.top(top)
        return {"known": self.known, "predictions": [each.to_dict() for each in ranked]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The prediction with these values, of `to_dict` or of `breedclf predict --json`; other keys are ignored.

        Raises:
            ConfigError: they aren't those of a prediction.
        """
        try:
            ranked = tuple(
                RankedClass(str(each["class_name"]), str(each["label"]), float(each["probability"]))
                for each in values["predictions"]
            )
            known = bool(values.get("known", True))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            reason = values.get("error") if isinstance(values, Mapping) else None
            raise ConfigError(f"these aren't the values of a prediction: {reason or repr(error)}") from error
        if not ranked:
            raise ConfigError("these aren't the values of a prediction: `predictions` is empty")
        return cls(ranked, known)

    @property
    def best(self) -> RankedClass:
        """The most probable class."""
        return self.ranked[0]

    def __str__(self) -> str:
        return str(self.best) if self.known else NONE_OF_THESE
