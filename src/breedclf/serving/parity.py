"""The check before a deployment: a served model answers over HTTP as the classifier does when asked directly."""

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
    """The right answers about `sample_images()`, and by how much a probability may differ."""

    predictions: list[Prediction]
    tolerance: float


def reference_of(classifier: Classifier) -> Reference:
    """The classifier's own answers."""
    return Reference([classifier.predict(picture) for _, picture in sample_images()], TOLERANCE[classifier.precision])


def check_parity(url: str, model: Path, *, reference: Reference | None = None) -> None:
    """Send sample images in every format, alone and together, and compare all probabilities.

    The right answers are the classifier's, or those that are given.

    Raises:
        ParityError: an answer differs from the right one by more than its precision explains.
    """
    right = reference or reference_of(Classifier(model, batch_size=1))
    pictures, expected, tolerance = sample_images(), right.predictions, right.tolerance
    import urllib3  # handlers in a container do without it

    with urllib3.PoolManager(retries=False) as pool:
        for (kind, picture), prediction in zip(pictures, expected, strict=True):
            compare(kind, _ask(pool, url, kind, picture), [prediction], tolerance)
        together = {"instances": [{"b64": base64.b64encode(picture).decode()} for _, picture in pictures]}
        compare("several at a time", _ask(pool, url, JSON, json.dumps(together).encode()), expected, tolerance)


def compare(name: str, answer: str, expected: list[Prediction], tolerance: float) -> None:
    """Compare one answer, a document for each prediction.

    Raises:
        ParityError: a class is missing, or a probability differs.
    """
    lines = answer.splitlines()
    if len(lines) != len(expected):
        raise ParityError(f"sample {name}: {len(lines)} answers came back for {len(expected)} images")
    for line, prediction in zip(lines, expected, strict=True):
        got = {each["label"]: each["probability"] for each in json.loads(line)["predictions"]}
        wanted = {each.label: each.probability for each in prediction.ranked}
        if got.keys() != wanted.keys():
            raise ParityError(f"sample {name}: the server names other classes than the model folder")
        worst = max(wanted, key=lambda label: abs(got[label] - wanted[label]))
        difference = abs(got[worst] - wanted[worst])
        if not difference <= tolerance:
            raise ParityError(
                f"sample {name}: the server gives {worst} {got[worst]:.4f}, the classifier {wanted[worst]:.4f}; "
                "the deployment is refused, since its answers would be others than measured"
            )


def sample_images() -> list[tuple[str, bytes]]:
    """Drawn images as (content type, file): colors, transparency, a turned photo, an extreme shape."""
    random = np.random.default_rng(0)
    blocks = random.integers(0, 256, (9, 12, 4), dtype=np.uint8)
    picture = Image.fromarray(blocks).resize((300, 220), Image.Resampling.BICUBIC)
    colours = picture.convert("RGB")
    turned = Image.Exif()
    turned[0x0112] = 6
    return [
        ("image/jpeg", _encoded(colours, "JPEG", quality=90, exif=turned.tobytes())),
        ("image/png", _encoded(picture, "PNG")),
        ("image/webp", _encoded(colours.crop((0, 0, 300, 40)), "WebP", lossless=True)),
        ("application/x-image", _encoded(colours.convert("L"), "JPEG")),
    ]


def _ask(pool: urllib3.PoolManager, url: str, kind: str, body: bytes) -> str:
    response = pool.request(
        "POST", f"{url}/invocations", body=body, headers={"Content-Type": kind}, timeout=_TIMEOUT_SECONDS
    )
    text = response.data.decode()
    if response.status != 200:
        raise ParityError(f"sample {kind}: the server answers {response.status}: {text[:300]}")
    return text


def _encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    file = BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()
