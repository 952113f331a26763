"""A version of a model as a model package of SageMaker: pure functions of its values and the settings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import Any

from breedclf.backends.sagemaker.endpoints.request import model_request
from breedclf.backends.sagemaker.settings import SageMakerSettings
from breedclf.backends.sagemaker.tags import tag_text
from breedclf.errors import ConfigError
from breedclf.serving.core import FORMAT_OF

MAX_GROUP_CHARS = 63
_GROUP = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9])*")
_MAX_PROPERTIES = 50
CONTENT_TYPES = (*FORMAT_OF, "application/x-image", "application/json")


@dataclass(frozen=True)
class ModelToRegister:
    """A version of a model.

    Args:
        name: of the model.
        version: its number in the store.
        digest: the SHA-256 of its files.
        artifact: the model directory.
        live: whether it is the version in service, and so approved.
        properties: what else is known about it, as short text; None for what isn't known.
        record: everything that is known about it, as plain values.
        metrics: of its training run, such as `valid_accuracy`.
        evaluation: the contents of `metrics.json`, if it was evaluated.
    """

    name: str
    version: int
    digest: str
    artifact: Path
    live: bool
    properties: Mapping[str, str | None]
    record: Mapping[str, Any]
    metrics: Mapping[str, float]
    evaluation: Mapping[str, Any] | None = None

    @property
    def description(self) -> str:
        """The description of its package, which identifies it in the group."""
        return f"{description_prefix(self.name)}{self.version}, SHA-256 {self.digest}"


def description_prefix(name: str) -> str:
    """The start of the descriptions of all packages of a model."""
    return f"breedclf model {name}, version "


def group_for(name: str) -> str:
    """The name of a model's group; SageMaker allows letters, digits and hyphens.

    Raises:
        ConfigError: the name is too long, or has other characters.

    Example:
        >>> group_for("dogs_v1.2")
        'dogs-v1-2'
    """
    group = re.sub(r"[._]", "-", name)
    if len(group) > MAX_GROUP_CHARS or not _GROUP.fullmatch(group):
        raise ConfigError(
            f"group {name!r}: SageMaker allows at most {MAX_GROUP_CHARS} letters, digits and, between them, hyphens: "
            "pass another group"
        )
    return group


def package_request(
    model: ModelToRegister,
    group: str,
    *,
    settings: SageMakerSettings,
    image: str,
    model_uri: str,
    record_uri: str,
    quality_uri: str | None,
) -> dict[str, Any]:
    """The parameters of CreateModelPackage; the package waits for its approval.

    Args:
        model: the version.
        group: the name of the group.
        settings: of the backend.
        image: the URI of the serving image.
        model_uri: of `model.tar.gz`.
        record_uri: of the version's record.
        quality_uri: of its metrics; None if there are none.
    """
    served = model_request(settings=settings, image=image, model_uri=model_uri, role="")
    request: dict[str, Any] = {
        "ModelPackageGroupName": group,
        "ModelPackageDescription": model.description,
        "InferenceSpecification": {
            "Containers": [served["PrimaryContainer"]],
            "SupportedContentTypes": list(CONTENT_TYPES),
            "SupportedResponseMIMETypes": ["application/json"],
        },
        "ModelApprovalStatus": "PendingManualApproval",
        "Domain": "COMPUTER_VISION",
        "Task": "IMAGE_CLASSIFICATION",
        "CustomerMetadataProperties": _properties(model, record_uri),
    }
    if quality_uri is not None:
        request["ModelMetrics"] = {
            "ModelQuality": {"Statistics": {"ContentType": "application/json", "S3Uri": quality_uri}}
        }
    return request


def quality_document(model: ModelToRegister) -> dict[str, Any] | None:
    """The metrics of a version in the form that SageMaker Studio shows; None if there are none.

    The accuracy is that of the evaluation, otherwise that of the validation split.

    Source: Amazon SageMaker Developer Guide, "Model quality metrics": multiclass classification.
    """
    found = model.evaluation
    if found is None and not model.metrics:
        return None
    shown: dict[str, Any] = {}
    if found is not None:
        accuracy, count = found["accuracy"], found["count"]
        shown["accuracy"] = {"value": accuracy, "standard_deviation": sqrt(accuracy * (1 - accuracy) / count)}
        labels = found["labels"]
        shown["confusion_matrix"] = {
            label: dict(zip(labels, row, strict=True)) for label, row in zip(labels, found["confusion"], strict=True)
        }
    elif "valid_accuracy" in model.metrics:
        shown["accuracy"] = {"value": model.metrics["valid_accuracy"], "standard_deviation": "NaN"}
    return {
        "multiclass_classification_metrics": shown,
        "training_metrics": dict(model.metrics),
        "evaluation": None if found is None else dict(found),
    }


def _properties(model: ModelToRegister, record_uri: str) -> dict[str, str]:
    values = {
        "model": model.name,
        "version": str(model.version),
        "sha256": model.digest,
        "record": record_uri,
        **model.properties,
    }
    plain = {name: tag_text(value) for name, value in values.items() if value}
    return {name: value for name, value in list(plain.items())[:_MAX_PROPERTIES] if value}
