"""The right answers to sample pictures, kept beside a model in S3, so that any process can hold an endpoint to them."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from breedclf.errors import ParityError
from breedclf.inference.prediction import Prediction, RankedClass

SCHEMA_VERSION = 1
_JSON = "application/json"


def right_answers(model: Path) -> bytes:
    """Sample pictures in every format and what the classifier itself answers about them, as JSON.

    Raises:
        ArtifactError: the folder holds no model, or a damaged one.
    """
    from breedclf.inference.classifier import Classifier  # loads torch
    from breedclf.serving.parity import TOLERANCE, sample_images

    classifier = Classifier(model, batch_size=1)
    samples = [
        {
            "content_type": kind,
            "b64": base64.b64encode(picture).decode(),
            "predictions": [each.to_dict() for each in classifier.predict(picture).ranked],
        }
        for kind, picture in sample_images()
    ]
    document = {"schema_version": SCHEMA_VERSION, "tolerance": TOLERANCE[classifier.precision], "samples": samples}
    return json.dumps(document).encode()


def compare_with(document: bytes, ask: Callable[[bytes, str], bytes]) -> None:
    """Ask for each sample alone and for all together, and compare the answers.

    Args:
        document: what `right_answers` gave.
        ask: sends a body of a content type and returns the answer.

    Raises:
        ParityError: an answer differs by more than the precision explains.
    """
    from breedclf.serving.parity import compare

    known: dict[str, Any] = json.loads(document)
    samples = known["samples"]
    expected = [Prediction(tuple(RankedClass(**ranked) for ranked in each["predictions"])) for each in samples]
    for sample, prediction in zip(samples, expected, strict=True):
        body = base64.b64decode(sample["b64"])
        _compare(compare, sample["content_type"], ask(body, sample["content_type"]), [prediction], known["tolerance"])
    together = json.dumps({"instances": [{"b64": each["b64"]} for each in samples]}).encode()
    _compare(compare, "several at a time", ask(together, _JSON), expected, known["tolerance"])


def _compare(compare: Callable[..., None], name: str, answer: bytes, expected: list[Prediction], most: float) -> None:
    try:
        compare(name, answer.decode(), expected, most)
    except (ValueError, KeyError, TypeError) as error:
        raise ParityError(
            f"sample {name}: the answer is not one of a breedclf server ({answer[:100].decode(errors='replace')!r})"
        ) from error
