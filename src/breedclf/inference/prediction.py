"""A prediction: the ranked classes of one image. Needs no torch, so that clients of an endpoint can use it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, Self

from breedclf.errors import ConfigError, ImageError
from breedclf.text.html_repr import html_repr

NONE_OF_THESE = "none of these"
_SHOWN_CLASSES = 5
_THUMBNAIL_PX = 240


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

    @html_repr
    def _repr_html_(self) -> str:
        from breedclf.reporting.notebook import notebook_view, share_bars

        return notebook_view(self.label, share_bars([(self.class_name, self.probability)]))


@dataclass(frozen=True, repr=False)
class Prediction:
    """All classes of one image, most probable first.

    `known` is False if the result is "none of these": the best probability is below the model's `min_confidence`, or
    the image's `distance` to the training images, from 0 to 2, is above the model's threshold. `distance` is None if
    the model has no feature bank. `prediction_set` has the classes that contain the right one with the `coverage` that
    was asked for, most probable first; None if none was. `image` is what notebooks show: the image's file or, for a
    single image that isn't one, a small JPEG of it.
    """

    ranked: tuple[RankedClass, ...]
    known: bool = True
    distance: float | None = None
    prediction_set: tuple[RankedClass, ...] | None = None
    image: Path | bytes | None = field(default=None, compare=False)

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
        """The prediction as `breedclf predict --json` prints it: `known` and `predictions`, best first.

        `distance` and `prediction_set` are added if there are any.

        Args:
            top: how many classes in `predictions`; all if None.

        Example:
            >>> Prediction((RankedClass("Beagle", "002.Beagle", 0.9),)).to_dict()
            {'known': True, 'predictions': [{'class_name': 'Beagle', 'label': '002.Beagle', 'probability': 0.9}]}
        """
        ranked = self.ranked if top is None else self.top(top)
        found: dict[str, Any] = {"known": self.known}
        if self.distance is not None:
            found["distance"] = self.distance
        if self.prediction_set is not None:
            found["prediction_set"] = [each.to_dict() for each in self.prediction_set]
        return found | {"predictions": [each.to_dict() for each in ranked]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The prediction with these values, of `to_dict` or of `breedclf predict --json`; other keys are ignored.

        Raises:
            ConfigError: they aren't those of a prediction.
        """
        try:
            ranked = _ranked(values["predictions"])
            known, distance = bool(values.get("known", True)), values.get("distance")
            distance = None if distance is None else float(distance)
            chosen = values.get("prediction_set")
            prediction_set = None if chosen is None else _ranked(chosen)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            reason = values.get("error") if isinstance(values, Mapping) else None
            raise ConfigError(f"these aren't the values of a prediction: {reason or repr(error)}") from error
        if not ranked:
            raise ConfigError("these aren't the values of a prediction: `predictions` is empty")
        return cls(ranked, known, distance, prediction_set)

    @property
    def best(self) -> RankedClass:
        """The most probable class."""
        return self.ranked[0]

    def __str__(self) -> str:
        return str(self.best) if self.known else NONE_OF_THESE

    def __repr__(self) -> str:
        shown = [*map(str, self.ranked[:3]), *(["..."] if len(self.ranked) > 3 else [])]
        return f"Prediction({', '.join(shown)}{'' if self.known else ', known=False'})"

    @html_repr
    def _repr_html_(self) -> str:
        from breedclf.reporting.notebook import beside_image, notebook_view, quiet, share_bars

        body = share_bars((each.class_name, each.probability) for each in self.top(_SHOWN_CLASSES))
        if self.distance is not None:
            body += quiet(f"distance to the training images: {self.distance:.3f}")
        heading = self.best.class_name if self.known else f"{NONE_OF_THESE}; the nearest are"
        return notebook_view(heading, beside_image(_jpeg(self.image), body))


def _ranked(values: Iterable[Mapping[str, Any]]) -> tuple[RankedClass, ...]:
    return tuple(
        RankedClass(str(each["class_name"]), str(each["label"]), float(each["probability"])) for each in values
    )


def _jpeg(image: Path | bytes | None) -> bytes | None:
    """A small JPEG of a prediction's image; None if its file is gone or was replaced by something else."""
    if not isinstance(image, Path):
        return image
    from breedclf.data.images import open_image

    try:
        upright = open_image(image, color="srgb")
    except ImageError:
        return None
    upright.thumbnail((_THUMBNAIL_PX, _THUMBNAIL_PX))
    file = BytesIO()
    upright.save(file, "JPEG", quality=75)
    return file.getvalue()
