"""A version of the store as a model package in SageMaker's registry."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from breedclf.errors import ConfigError
from breedclf.model_store.records import LIVE, ModelRecord, ModelVersion

if TYPE_CHECKING:
    from breedclf.backends.sagemaker.backend import SageMakerBackend
    from breedclf.backends.sagemaker.model_packages.packages import RegisteredPackage

_METRICS_FILE = "metrics.json"
_NOT_PROPERTIES = ("config",)  # it is in the record, and too long for a property


def push_to_sagemaker(
    record: ModelRecord,
    version: ModelVersion,
    folder: Path,
    *,
    backend: SageMakerBackend,
    group: str | None = None,
) -> RegisteredPackage:
    """Register a version as a model package; see `ModelStore.to_sagemaker`."""
    from breedclf.backends.sagemaker import backend as sagemaker
    from breedclf.backends.sagemaker.model_packages.packages import ModelPackages
    from breedclf.backends.sagemaker.model_packages.request import ModelToRegister

    if not isinstance(backend, sagemaker.SageMakerBackend):
        raise ConfigError(f"backend={backend!r} has no model registry: pass a SageMakerBackend")
    lineage = version.lineage.model_dump(mode="json", exclude=set(_NOT_PROPERTIES))
    model = ModelToRegister(
        name=record.name,
        version=version.version,
        digest=version.digest,
        artifact=folder,
        live=record.aliases.get(LIVE) == version.version,
        properties={
            "architecture": version.architecture,
            "classes": str(version.classes),
            "added": version.added.isoformat(),
            "notes": version.notes,
            **{name: None if value is None else str(value) for name, value in lineage.items()},
        },
        record={"name": record.name, **version.model_dump(mode="json")},
        metrics=version.metrics,
        evaluation=_evaluation(version.lineage.evaluation),
    )
    return ModelPackages(backend.context).register(model, group)


def _evaluation(folder: str | None) -> Mapping[str, Any] | None:
    """The contents of an evaluation's `metrics.json`; None if it isn't there anymore."""
    if folder is None:
        return None
    path = Path(folder)
    try:
        found = json.loads((path / _METRICS_FILE if path.is_dir() else path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    wanted = {"accuracy", "count", "labels", "confusion"}
    return found if isinstance(found, dict) and wanted <= set(found) else None
