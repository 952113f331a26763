"""Register a version of a model in MLflow's model registry."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from breedclf.errors import BreedclfError, ConfigError, PublishError
from breedclf.evaluation.model_card import model_card
from breedclf.files.model_folder import README_FILE
from breedclf.loggers.mlflow_connection import connection, experiment_id, experiment_name, require_mlflow
from breedclf.model_store.records import LIVE, Lineage, ModelVersion
from breedclf.model_store.store import ModelStore

DIGEST_TAG = "breedclf.digest"
_FOLDER = "model"
_MAX_TAG_CHARS = 5_000
_RESERVED = "latest"


def register_in_mlflow(
    store: ModelStore,
    name: str,
    version: int | str = LIVE,
    *,
    tracking_uri: str | None = None,
    experiment: str | None = None,
    registered_name: str | None = None,
) -> str:
    """Register a version of a model in MLflow, with the same aliases, its metrics, and its lineage as tags.

    The files are artifacts of a run of their own. A version that is registered already, by its digest, isn't uploaded
    again; its aliases are moved to it.

    Args:
        store: has the model.
        name: of the model in the store.
        version: its number, or an alias.
        tracking_uri: of the MLflow server or database (default: that of `MLFLOW_TRACKING_URI`).
        experiment: of the run; created if it doesn't exist (default: as with `MLflowLogger`).
        registered_name: name of the model in MLflow (default: `name`).

    Returns:
        The number of the version in MLflow.

    Raises:
        MissingExtraError: MLflow isn't installed.
        ConfigError: the store has no such version.
        PublishError: MLflow refuses, or can't be reached; the run is marked as failed.

    Example:
        >>> register_in_mlflow(store, "dogs", "live", tracking_uri="sqlite:///mlflow.db")  # doctest: +SKIP
        '1'
        >>> folder = mlflow.artifacts.download_artifacts("models:/dogs@live")  # doctest: +SKIP
        >>> Classifier(folder).predict("dog.jpg")  # doctest: +SKIP
    """
    require_mlflow(tracking_uri, "registering a model in MLflow")
    from mlflow.tracking import MlflowClient

    record = store.record(name)
    chosen = record.version(version)
    registered = registered_name or name
    with _reported(registered, tracking_uri), connection(tracking_uri):
        client = MlflowClient(tracking_uri=tracking_uri)
        number = _known_version(client, registered, chosen.digest)
        if number is None:
            number = _registered(client, store, name, chosen, registered, experiment_name(experiment))
        for alias in record.aliases_of(chosen.version):
            if alias != _RESERVED:
                client.set_registered_model_alias(registered, alias, number)
    return number


def _known_version(client: Any, registered: str, digest: str) -> str | None:
    """The version in MLflow with this digest; None if there is none, after the model was created if necessary."""
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(registered, tags={"breedclf": "true"})
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    quoted = registered.replace("'", "''")
    versions = client.search_model_versions(f"name='{quoted}'")
    return next((str(each.version) for each in versions if each.tags.get(DIGEST_TAG) == digest), None)


def _registered(
    client: Any, store: ModelStore, name: str, version: ModelVersion, registered: str, experiment: str
) -> str:
    """Upload the files as artifacts of a new run, and register them as a version."""
    tags = _tags(name, version)
    run = client.create_run(experiment_id(client, experiment), run_name=f"{name} {version.version}", tags=tags)
    status = "FAILED"
    try:
        for metric, value in version.metrics.items():
            client.log_metric(run.info.run_id, metric, value)
        folder = store.model_directory(name, version.version)
        client.log_artifacts(run.info.run_id, str(folder), _FOLDER)
        client.log_text(run.info.run_id, _card(store, name, version), f"{_FOLDER}/{README_FILE}")
        found = client.create_model_version(
            registered,
            source=f"{run.info.artifact_uri}/{_FOLDER}",
            run_id=run.info.run_id,
            tags=tags,
            description=version.notes or None,
        )
        status = "FINISHED"
    finally:
        client.set_terminated(run.info.run_id, status=status)
    return str(found.version)


def _card(store: ModelStore, name: str, version: ModelVersion) -> str:
    """The model card, with the accuracy of the evaluation that the store knows, if that is still there."""
    folder = store.model_directory(name, version.version)
    try:
        return model_card(folder, version.lineage.evaluation)
    except ConfigError:
        return model_card(folder)


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
def _reported(registered: str, tracking_uri: str | None) -> Iterator[None]:
    """Turn MLflow's errors into one sentence."""
    try:
        yield
    except BreedclfError:
        raise
    except Exception as error:  # MLflow's own, and those of its database and of artifact stores
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        where = f" at {tracking_uri}" if tracking_uri else ""
        raise PublishError(f"{registered!r} can't be registered in MLflow{where}: {reason}") from error
