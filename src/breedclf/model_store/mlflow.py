"""Register a version of a model in MLflow's model registry."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from breedclf.errors import BreedclfError, PublishError
from breedclf.files.model_folder import README_FILE
from breedclf.loggers.mlflow_connection import connection, experiment_id, experiment_name, require_mlflow
from breedclf.model_store.cards import stored_card
from breedclf.model_store.folder import sha256_of
from breedclf.model_store.lineage import card_of, check_whole, files_of
from breedclf.model_store.records import LIVE, Lineage, ModelVersion
from breedclf.model_store.store import ModelStore

log: logging.Logger = logging.getLogger(__name__)

DIGEST_TAG = "breedclf.digest"
_FOLDER = "model"
_MAX_TAG_CHARS = 5_000
_RESERVED = re.compile(r"latest|v\d+", re.IGNORECASE)


def register_in_mlflow(
    store: ModelStore,
    name: str,
    version: int | str = LIVE,
    *,
    tracking_uri: str | None = None,
    experiment: str | None = None,
) -> str:
    """Register a version, and move its aliases to it; the number of the version in MLflow. See `ModelStore.to_mlflow`.

    Raises:
        MissingExtraError: MLflow isn't installed.
        ConfigError: the store has no such version.
        PublishError: MLflow refuses, or can't be reached; the run is marked as failed.
    """
    require_mlflow(tracking_uri, "registering a model in MLflow")
    from mlflow.tracking import MlflowClient

    record = store.record(name)
    chosen = record.version(version)
    with _reported(name, tracking_uri), connection(tracking_uri):
        client = MlflowClient(tracking_uri=tracking_uri)
        number = _known_version(client, name, chosen.digest)
        if number is None:
            number = _registered(client, store, name, chosen, experiment_name(experiment))
        for alias in record.aliases_of(chosen.version):
            if _RESERVED.fullmatch(alias):
                log.warning("alias %r isn't set in MLflow, which reserves that name", alias)
            else:
                client.set_registered_model_alias(name, alias, number)
    return number


def _known_version(client: Any, name: str, digest: str) -> str | None:
    """The version in MLflow with this digest; None if there is none, after the model was created if necessary."""
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name, tags={"breedclf": "true"})
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    versions = client.search_model_versions(f"name='{name}'")
    return next((str(each.version) for each in versions if each.tags.get(DIGEST_TAG) == digest), None)


def _registered(client: Any, store: ModelStore, name: str, version: ModelVersion, experiment: str) -> str:
    """Upload the files as artifacts of a new run, and register them as a version."""
    tags, folder = _tags(name, version), store.model_directory(name, version.version)
    card = card_of(folder)
    check_whole(folder, card, sha256_of(folder, files_of(folder, card)))
    run = client.create_run(experiment_id(client, experiment), run_name=f"{name} {version.version}", tags=tags)
    status = "FAILED"
    try:
        for metric, value in version.metrics.items():
            client.log_metric(run.info.run_id, metric, value)
        client.log_artifacts(run.info.run_id, str(folder), _FOLDER)
        client.log_text(run.info.run_id, stored_card(store, name, version.version), f"{_FOLDER}/{README_FILE}")
        found = client.create_model_version(
            name,
            source=f"{run.info.artifact_uri}/{_FOLDER}",
            run_id=run.info.run_id,
            tags=tags,
            description=version.notes or None,
        )
        status = "FINISHED"
    finally:
        client.set_terminated(run.info.run_id, status=status)
    return str(found.version)


def _tags(name: str, version: ModelVersion) -> dict[str, str]:
    """What the store knows about a version; the training settings are in its files."""
    known = {
        "name": name,
        "version": version.version,
        "digest": version.digest,
        "architecture": version.architecture,
        "classes": version.classes,
        **{field: getattr(version.lineage, field) for field in Lineage.model_fields if field != "config"},
    }
    return {f"breedclf.{key}": str(value)[:_MAX_TAG_CHARS] for key, value in known.items() if value not in (None, "")}


@contextmanager
def _reported(name: str, tracking_uri: str | None) -> Iterator[None]:
    """Turn MLflow's errors into one sentence."""
    try:
        yield
    except BreedclfError:
        raise
    except Exception as error:  # MLflow's own, and those of its database and of artifact stores
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        where = f" at {tracking_uri}" if tracking_uri else ""
        raise PublishError(f"{name!r} can't be registered in MLflow{where}: {reason}") from error
