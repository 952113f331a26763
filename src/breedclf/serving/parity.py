"""The parity check before a deployment: predictions over HTTP must equal the classifier's own."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from PIL import Image

from breedclf.errors import ParityError
from breedclf.inference.classifier import Classifier
from breedclf.inference.model_directory import ModelCard
from breedclf.inference.prediction import Prediction
from breedclf.serving.core import JSON, PARITY_ID

if TYPE_CHECKING:
    import urllib3

TOLERANCE = {"fp32": 1e-3, "bf16": 3e-2, "int8": 1e-2}
_TIMEOUT_SECONDS = 60.0


@dataclass(frozen=True)
class KnownLimits:
    """What decides whether an image is known: the lowest probability and the largest distance, if there are such."""

    min_confidence: float | None = None
    threshold: float | None = None

    @classmethod
    def of(cls, card: ModelCard) -> Self:
        """Those of a model."""
        return cls(card.min_confidence, None if card.feature_bank is None else card.feature_bank.threshold)

    def are_near(self, prediction: Prediction, tolerance: float) -> bool:
        """Whether an image is so close to a limit that a difference within the tolerance decides."""
        given = ((self.min_confidence, prediction.best.probability), (self.threshold, prediction.distance))
        return any(
            limit is not None and value is not None and abs(value - limit) <= tolerance for limit, value in given
        )


@dataclass(frozen=True)
class Reference:
    """Expected predictions for `sample_images()`, and the tolerance of probabilities and distances.

    Without `limits`, neither distances nor whether images are known are compared.
    """

    predictions: list[Prediction]
    tolerance: float
    limits: KnownLimits | None = None


def reference_of(classifier: Classifier) -> Reference:
    """The classifier's own predictions."""
    predictions = [classifier.predict(image) for _, image in sample_images()]
    return Reference(predictions, TOLERANCE[classifier.precision], KnownLimits.of(classifier.card))


def check_parity(url: str, model: Path, *, reference: Reference | None = None) -> None:
    """Send sample images in every format, individually and together, and compare all probabilities and distances.

    Predictions are compared with the given reference, or with the classifier's own.

    Raises:
        ParityError: a probability or distance differs by more than the precision allows.
    """
    target = reference or reference_of(Classifier(model, batch_size=1))
    images, expected, tolerance, limits = sample_images(), target.predictions, target.tolerance, target.limits
    import urllib3  # not needed by the handlers in a container

    with urllib3.PoolManager(retries=False) as pool:
        for (kind, image), prediction in zip(images, expected, strict=True):
            compare(kind, _post(pool, url, kind, image), [prediction], tolerance, limits)
        together = {"instances": [{"b64": base64.b64encode(image).decode()} for _, image in images]}
        compare("several images", _post(pool, url, JSON, json.dumps(together).encode()), expected, tolerance, limits)


def compare(
    name: str, answer: str, expected: list[Prediction], tolerance: float, limits: KnownLimits | None = None
) -> None:
    """Compare one response with the expected predictions.

    Raises:
        ParityError: a class or the distance is missing, or a probability, the distance or whether the image is known
            differs.
    """
    lines = answer.splitlines()
    if len(lines) != len(expected):
        raise ParityError(f"sample {name}: got {len(lines)} predictions for {len(expected)} images")
    for line, prediction in zip(lines, expected, strict=True):
        document = json.loads(line)
        _compare_probabilities(name, document, prediction, tolerance)
        if limits is not None:
            _compare_known(name, document, prediction, tolerance, limits)


def _compare_probabilities(name: str, document: dict[str, Any], prediction: Prediction, tolerance: float) -> None:
    got = {each["label"]: each["probability"] for each in document["predictions"]}
    expected_probabilities = {each.label: each.probability for each in prediction.ranked}
    if got.keys() != expected_probabilities.keys():
        raise ParityError(f"sample {name}: the server returns other classes than the model directory")
    worst = max(expected_probabilities, key=lambda label: abs(got[label] - expected_probabilities[label]))
    difference = abs(got[worst] - expected_probabilities[worst])
    if not difference <= tolerance:
        raise ParityError(
            f"sample {name}: the server returns {got[worst]:.4f} for {worst}, the classifier "
            f"{expected_probabilities[worst]:.4f}; the deployment is refused, since its predictions would differ"
        )


def _compare_known(
    name: str, document: dict[str, Any], prediction: Prediction, tolerance: float, limits: KnownLimits
) -> None:
    distance, expected = document.get("distance"), prediction.distance
    if (distance is None) != (expected is None) or (
        distance is not None and expected is not None and not abs(distance - expected) <= tolerance
    ):
        raise ParityError(
            f"sample {name}: the server returns the distance {_shown(distance)}, the classifier {_shown(expected)}; "
            "the deployment is refused, since it would not recognize the same images as none of the classes"
        )
    if document["known"] is not prediction.known and not limits.are_near(prediction, tolerance):
        raise ParityError(
            f"sample {name}: the server returns known={document['known']}, the classifier known={prediction.known}; "
            "the deployment is refused: it serves another model, or one with other limits"
        )


def _shown(distance: float | None) -> str:
    return "none" if distance is None else f"{distance:.4f}"


def sample_images() -> list[tuple[str, bytes]]:
    """Synthetic images as (content type, file): colors, transparency, EXIF orientation, an extreme aspect ratio."""
    random = np.random.default_rng(0)
    blocks = random.integers(0, 256, (9, 12, 4), dtype=np.uint8)
    image = Image.fromarray(blocks).resize((300, 220), Image.Resampling.BICUBIC)
    rgb = image.convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6
    return [
        ("image/jpeg", _encoded(rgb, "JPEG", quality=90, exif=exif.tobytes())),
        ("image/png", _encoded(image, "PNG")),
        ("image/webp", _encoded(rgb.crop((0, 0, 300, 40)), "WebP", lossless=True)),
        ("application/x-image", _encoded(rgb.convert("L"), "JPEG")),
    ]


def _post(pool: urllib3.PoolManager, url: str, kind: str, body: bytes) -> str:
    headers = {"Content-Type": kind, "X-Request-Id": PARITY_ID}
    response = pool.request("POST", f"{url}/invocations", body=body, headers=headers, timeout=_TIMEOUT_SECONDS)
    text = response.data.decode()
    if response.status != 200:
        raise ParityError(f"sample {kind}: the server responded with {response.status}: {text[:300]}")
    return text


def _encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()
