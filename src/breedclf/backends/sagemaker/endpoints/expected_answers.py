"""Expected answers for sample images, stored with a model in S3, so that any process can check an endpoint."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from breedclf.errors import ParityError
from breedclf.inference.prediction import Prediction

SCHEMA_VERSION = 1
_JSON = "application/json"


def expected_answers(model: Path) -> bytes:
    """Sample images in every format with the classifier's predictions, as JSON.

    Raises:
        ArtifactError: the folder contains no model, or a damaged one.
    """
    from breedclf.inference.classifier import Classifier  # loads torch
    from breedclf.serving.parity import TOLERANCE, KnownLimits, sample_images

    classifier = Classifier(model, batch_size=1)
    samples = [
        {
            "content_type": kind,
            "b64": base64.b64encode(image).decode(),
            **classifier.predict(image).to_dict(),
        }
        for kind, image in sample_images()
    ]
    document = {
        "schema_version": SCHEMA_VERSION,
        "tolerance": TOLERANCE[classifier.precision],
        "limits": asdict(KnownLimits.of(classifier.card)),
        "samples": samples,
    }
    return json.dumps(document).encode()


def compare_with(document: bytes, ask: Callable[[bytes, str], bytes]) -> None:
    """Request predictions for each sample separately and for all together, and compare them.

    Args:
        document: the result of `expected_answers`.
        ask: sends a body with a content type and returns the response.

    Raises:
        ParityError: a prediction differs by more than the tolerance of the precision.
    """
    from breedclf.serving.parity import KnownLimits, compare

    known: dict[str, Any] = json.loads(document)
    samples, limits = known["samples"], known.get("limits")  # versions without feature banks wrote no limits
    check = partial(_compare, partial(compare, limits=None if limits is None else KnownLimits(**limits)))
    expected = [Prediction.from_dict(each) for each in samples]
    for sample, prediction in zip(samples, expected, strict=True):
        body = base64.b64decode(sample["b64"])
        check(sample["content_type"], ask(body, sample["content_type"]), [prediction], known["tolerance"])
    together = json.dumps({"instances": [{"b64": each["b64"]} for each in samples]}).encode()
    check("all together", ask(together, _JSON), expected, known["tolerance"])


def _compare(compare: Callable[..., None], name: str, answer: bytes, expected: list[Prediction], most: float) -> None:
    try:
        compare(name, answer.decode(), expected, most)
    except (ValueError, KeyError, TypeError) as error:
        raise ParityError(
            f"sample {name}: the response is not from a breedclf server ({answer[:100].decode(errors='replace')!r})"
        ) from error
