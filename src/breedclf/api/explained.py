"""What an endpoint returns for a prediction that it explains."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING
from urllib.parse import quote

from breedclf.errors import ConfigError
from breedclf.explanations.facts import ExplanationFacts
from breedclf.inference.prediction import Prediction
from breedclf.text.html_repr import html_repr

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from PIL import Image

_MOST_CHARS = 1024


@dataclass(frozen=True)
class EndpointExplanation:
    """How much each place of an image speaks for a class, as an endpoint computed it.

    Attributes:
        class_name: the explained class, as shown to people.
        label: the name of its class folder.
        other: the class that it was compared with; None for one class's own map.
        method: "class activation map", or the name of an approximation such as "Grad-CAM".
        exact: whether the values are the contributions to the score: their sum and `bias` are `score`.
        border_share: the share of the positive values near the border of the image, 0 to 1.
        bias: the part of the score that belongs to no place.
        score: the class's score before the softmax.
    """

    class_name: str
    label: str
    method: str
    exact: bool
    border_share: float
    bias: float
    score: float
    png: str = field(repr=False)
    rows: tuple[tuple[float, ...], ...] = field(repr=False)
    other: str | None = None

    @property
    def values(self) -> npt.NDArray[np.float32]:
        """The map, float32 [h, w], from the top left of the cropped image; positive values speak for the class."""
        import numpy as np

        return np.array(self.rows, np.float32)

    def image(self) -> Image.Image:
        """The cropped image with the map in color, as the endpoint drew it."""
        from PIL import Image

        image = Image.open(BytesIO(base64.b64decode(self.png)))
        image.load()
        return image

    @html_repr
    def _repr_html_(self) -> str:
        from breedclf.explanations.view import explanation_view

        shown = ExplanationFacts(
            self.class_name, self.label, self.other, self.method, self.exact, self.score, self.border_share
        )
        return explanation_view(self.image(), shown)


@dataclass(frozen=True, repr=False)
class ExplainedPrediction(Prediction):
    """A `Prediction` with its explanation."""

    explanation: EndpointExplanation = field(kw_only=True, compare=False)


def explanation_attributes(class_name: str | None, against: str | None) -> str:
    """SageMaker's custom attributes that ask for an explanation.

    Raises:
        ConfigError: the names are too long for a header.

    Example:
        >>> explanation_attributes("Wire Fox", None)
        'explain=1,class=Wire%20Fox'
    """
    given = {"class": class_name, "against": against}
    named = [f"{name}={quote(value, safe='')}" for name, value in given.items() if value is not None]
    text = ",".join(["explain=1", *named])
    if len(text) > _MOST_CHARS:
        raise ConfigError(
            f"the names of class_name and against take {len(text):,} characters in a request, of at most "
            f"{_MOST_CHARS:,}: use the labels of the classes if they are shorter"
        )
    return text
