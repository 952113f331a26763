"""The parity check before a deployment: predictions over HTTP must equal the classifier's own."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from breedclf.errors import ParityError
from breedclf.inference.classifier import Classifier
from breedclf.inference.prediction import Prediction
from breedclf.serving.core import JSON

if TYPE_CHECKING:
    import urllib3

TOLERANCE = {"fp32": 1e-3, "bf16": 3e-2, "int8": 1e-2}
_TIMEOUT_SECONDS = 60.0


@dataclass(frozen=True)
class Reference:
    """Expected predictions for `sample_images()`, and the tolerance of probabilities."""

    predictions: list[Prediction]
    tolerance: float


def reference_of(classifier: Classifier) -> Reference:
    """The classifier's own predictions."""
    return Reference([classifier.predict(image) for _, image in sample_images()], TOLERANCE[classifier.precision])


def check_parity(url: str, model: Path, *, reference: Reference | None = None) -> None:
    """Send sample images in every format, individually and together, and compare all probabilities.

    Predictions are compared with the given reference, or with the classifier's own.

    Raises:
        ParityError: a probability differs by more than the precision allows.
    """
    target = reference or reference_of(Classifier(model, batch_size=1))
    images, expected, tolerance = sample_images(), target.predictions, target.tolerance
    import urllib3  # not needed by the handlers in a container

    with urllib3.PoolManager(retries=False) as pool:
        for (kind, image), prediction in zip(images, expected, strict=True):
            compare(kind, _post(pool, url, kind, image), [prediction], tolerance)
        together = {"instances": [{"b64": base64.b64encode(image).decode()} for _, image in images]}
        compare("several images", _post(pool, url, JSON, json.dumps(together).encode()), expected, tolerance)


def compare(name: str, answer: str, expected: list[Prediction], tolerance: float) -> None:
    """Compare one response with the expected predictions.

    Raises:
        ParityError: a class is missing, or a probability differs.
    """
    lines = answer.splitlines()
    if len(lines) != len(expected):
        raise ParityError(f"sample {name}: got {len(lines)} predictions for {len(expected)} images")
    for line, prediction in zip(lines, expected, strict=True):
        got = {each["label"]: each["probability"] for each in json.loads(line)["predictions"]}
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
    response = pool.request(
        "POST", f"{url}/invocations", body=body, headers={"Content-Type": kind}, timeout=_TIMEOUT_SECONDS
    )
    text = response.data.decode()
    if response.status != 200:
        raise ParityError(f"sample {kind}: the server responded with {response.status}: {text[:300]}")
    return text


def _encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()
