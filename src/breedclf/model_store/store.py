"""`ModelStore`: models with versions and aliases in a folder."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from breedclf.errors import ConfigError
from breedclf.files.model_folder import model_directory_at
from breedclf.files.paths import StrPath, user_path
from breedclf.jobs.endpoints import artifact_of
from breedclf.jobs.waiting import SYSTEM_CLOCK, Clock
from breedclf.model_store.folder import StoreFolder, digest_of, sha256_of
from breedclf.model_store.gate import Gate, GateCheck
from breedclf.model_store.lineage import card_of, check_whole, files_of, lineage_of, measured
from breedclf.model_store.promotion import Promoter
from breedclf.model_store.records import (
    LIVE,
    EndpointOfModel,
    ModelRecord,
    ModelVersion,
    check_alias,
    check_model_name,
    check_removable,
)
from breedclf.text.html_repr import html_repr
from breedclf.text.printable import storable

if TYPE_CHECKING:
    from breedclf.api.endpoint import Endpoint
    from breedclf.backends.sagemaker.backend import SageMakerBackend
    from breedclf.backends.sagemaker.model_packages.packages import RegisteredPackage
    from breedclf.config import OnBadImage
    from breedclf.data.labeled_images import LabeledImages
    from breedclf.model_store.comparison import ModelComparison

DEFAULT_STORE = Path("runs/models")


class ModelStore:
    """Models in a folder, by name and version; aliases say which version is live, and which was before.

    A version never changes: it is a copy of a model directory, stored under the SHA-256 of its files. Several processes
    can use a store at the same time, and one that is killed leaves it whole.

    Args:
        path: the folder; it is created when the first model is added.

    Example:
        >>> store = ModelStore("models")
        >>> version = store.add("runs/dogs/model", name="dogs")  # doctest: +SKIP
        >>> store.promote("dogs", version.version)  # doctest: +SKIP
        >>> store.model_directory("dogs", "live")  # doctest: +SKIP
        PosixPath('models/objects/3b1d...')
    """

    def __init__(self, path: StrPath = DEFAULT_STORE, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._folder = StoreFolder(user_path(path, "store"))
        self._clock = clock
        self._promoter = Promoter(self._folder, clock)

    def __repr__(self) -> str:
        return f"ModelStore({str(self._folder.path)!r})"

    @html_repr
    def _repr_html_(self) -> str:
        from breedclf.model_store.view import store_view

        return store_view(self)

    @property
    def path(self) -> Path:
        """The folder."""
        return self._folder.path

    @property
    def names(self) -> list[str]:
        """The names of the models, in alphabetical order."""
        return self._folder.names()

    def record(self, name: str) -> ModelRecord:
        """Everything known about a model: its versions, aliases and the history of these.

        Raises:
            ConfigError: there is no such model.
            ArtifactError: its file is damaged.
        """
        return self._folder.load(name)

    def add(self, model: object, *, name: str, notes: str = "", **lineage: str | None) -> ModelVersion:
        """Copy a model into the store as the next version of `name`.

        A model that is a version already stays that version; its notes, and what was found out about it since, such as
        an evaluation, are added to it.

        Args:
            model: a model directory, or a job, a `FitResult` or a classifier that has one.
            name: of the model in the store.
            notes: free text.
            lineage: what else is known about it: fields of `Lineage` such as `tuning_job` or `evaluation`.

        Raises:
            ArtifactError: it isn't a whole model directory.
            ConfigError: the name isn't valid.
            DiskError: the store can't be written; it stays as it was.
        """
        check_model_name(name)
        source = model_directory_at(artifact_of(model))
        card = card_of(source)
        sha256 = sha256_of(source, files_of(source, card))
        check_whole(source, card, sha256)
        digest, origin = digest_of(sha256), lineage_of(source, card, **lineage)
        metrics = measured(card, origin.evaluation)
        with self._folder.locked():
            record = self._folder.find(name) or ModelRecord(name=name)
            self._folder.put(source, sha256)
            known = next((each for each in record.versions if each.digest == digest), None)
            version = (
                ModelVersion(
                    version=record.next_version,
                    digest=digest,
                    added=self._now(),
                    source=storable(str(source)),
                    architecture=str(card.get("architecture", "")),
                    classes=len(card["labels"]),
                    megabytes=sum((source / file).stat().st_size for file in sha256) / 1e6,
                    notes=storable(notes),
                    metrics=metrics,
                    lineage=origin,
                )
                if known is None
                else known.with_more(metrics, origin, storable(notes))
            )
            if version != known:
                self._folder.save(record.with_version(version))
        return version

    def model_directory(self, name: str, version: int | str = LIVE) -> Path:
        """Where the files of a version are; read them, but don't change them.

        Args:
            name: of the model.
            version: its number, or an alias.

        Raises:
            ConfigError: there is no such model or version.
        """
        return self._folder.object(self.record(name).version(version).digest)

    def compare(
        self,
        name: str,
        a: int | str,
        b: int | str,
        *,
        data: StrPath | LabeledImages | Mapping[str, LabeledImages],
        split: str = "test",
        labels: StrPath | None = None,
        on_bad_image: OnBadImage = "error",
    ) -> ModelComparison:
        """Compare two versions on the same images.

        Args:
            name: of the model.
            a, b: numbers or aliases of two versions.
            data: a dataset folder, a table, or labeled images; see `evaluate`.
            split: train, valid, test or `all`.
            labels: a table of the labels, if `data` is a folder without class folders.
            on_bad_image: `error` stops at an unreadable image, `skip` leaves it out for both.

        Raises:
            ConfigError: there is no such version.
            DataError: the images can't be used, or are of other classes.
        """
        from breedclf.model_store.compare import compare_models

        record = self.record(name)
        versions = record.version(a), record.version(b)
        first, second = (self._folder.object(each.digest) for each in versions)
        shown = f"{name} {versions[0].version}", f"{name} {versions[1].version}"
        return compare_models(first, second, data, names=shown, split=split, labels=labels, on_bad_image=on_bad_image)

    def to_mlflow(
        self, name: str, version: int | str = LIVE, *, tracking_uri: str | None = None, experiment: str | None = None
    ) -> str:
        """Register a version in MLflow's model registry, with its aliases, its metrics, and its lineage as tags.

        The files are artifacts of a run of their own. A version that is registered already isn't uploaded again; its
        aliases are moved to it.

        Args:
            name: of the model, here and in MLflow.
            version: its number, or an alias.
            tracking_uri: of the MLflow server or database (default: that of `MLFLOW_TRACKING_URI`).
            experiment: of the run, created if it doesn't exist (default: as with `MLflowLogger`).

        Returns:
            The number of the version in MLflow.

        Raises:
            MissingExtraError: MLflow isn't installed.
            ConfigError: there is no such version.
            PublishError: MLflow refuses, or can't be reached; the run is marked as failed.

        Example:
            >>> store.to_mlflow("dogs", tracking_uri="sqlite:///mlflow.db")  # doctest: +SKIP
            '1'
            >>> folder = mlflow.artifacts.download_artifacts("models:/dogs@live")  # doctest: +SKIP
            >>> Classifier(folder).predict("dog.jpg")  # doctest: +SKIP
        """
        from breedclf.model_store.mlflow import register_in_mlflow

        return register_in_mlflow(self, name, version, tracking_uri=tracking_uri, experiment=experiment)

    def promote(
        self,
        name: str,
        version: int | str,
        *,
        data: StrPath | LabeledImages | Mapping[str, LabeledImages] | None = None,
        gate: Gate | None = None,
        endpoint: Endpoint | None = None,
        alias_only: bool = False,
        reason: str = "promote",
    ) -> list[GateCheck]:
        """Make a version the live one, if it passes the gate; the live one before it becomes `previous`.

        Its endpoint is updated first, without a failed request. If the process ends meanwhile, the next call finishes
        or undoes the promotion, according to which model the endpoint serves.

        Args:
            name: of the model.
            version: its number, or an alias.
            data: images to measure it on, and to compare it with the live model. Without them, the accuracy of the
                evaluation with which it was added counts.
            gate: what is required; the default refuses a model that is worse than the live one.
            endpoint: the endpoint to update; the one that was updated last if None.
            alias_only: update no endpoint.
            reason: noted in the history.

        Returns:
            The checks, all passed.

        Raises:
            GateError: a check failed; nothing was changed.
            EndpointError: the endpoint can't serve the model, or is gone; nothing was changed.
            ArtifactError: the files of the version were changed since it was added.
            ConfigError: there is no such version.
        """
        return self._promoter.promote(
            name,
            version,
            data=data,
            gate=gate or Gate(),
            endpoint=endpoint,
            alias_only=alias_only,
            reason=reason,
        )

    def rollback(
        self, name: str, *, endpoint: Endpoint | None = None, alias_only: bool = False, reason: str = "rollback"
    ) -> ModelVersion:
        """Make the previous version live again, and the live one `previous`; the arguments are those of `promote`.

        Raises:
            ConfigError: there is no previous version.
            EndpointError: the endpoint can't serve it, or is gone; nothing was changed.
            ArtifactError: the files of the version were changed since it was added.
        """
        return self._promoter.rollback(name, endpoint=endpoint, alias_only=alias_only, reason=reason)

    def alias(self, name: str, alias: str, version: int | str | None) -> None:
        """Let an alias name a version; it may have named another one. None removes the alias.

        Raises:
            ConfigError: the alias is `live` or `previous`, which `promote` and `rollback` move, or isn't valid.
        """
        check_alias(alias)
        with self._folder.locked():
            record = self._folder.load(name)
            if version is None and alias not in record.aliases:
                known = ", ".join(sorted(record.aliases)) or "none"
                raise ConfigError(f"model {name!r} has no alias {alias!r}; there are: {known}")
            number = None if version is None else record.version(version).version
            self._folder.save(record.moved({alias: number}, self._now(), "alias"))

    def to_sagemaker(
        self, name: str, version: int | str = LIVE, *, backend: SageMakerBackend, group: str | None = None
    ) -> RegisteredPackage:
        """Register a version as a model package in SageMaker's model registry, once.

        The live version is approved; other versions wait for a manual approval.

        Args:
            name: of the model.
            version: its number, or an alias.
            backend: the account and the settings of the serving image.
            group: the model package group; by default it has the name of the model.

        Raises:
            ConfigError: there is no such version, it isn't a SageMaker backend, or the group's name isn't valid.
            BreedclfError: SageMaker or S3 refuses.
        """
        from breedclf.model_store.sagemaker import push_to_sagemaker

        record = self.record(name)
        chosen = record.version(version)
        return push_to_sagemaker(record, chosen, self._folder.object(chosen.digest), backend=backend, group=group)

    def remove(self, name: str, version: int | str) -> ModelVersion:
        """Remove a version; its files are removed by `collect_garbage`.

        Raises:
            ConfigError: an alias names it, or an endpoint serves it.
        """
        record = self.record(name)
        served = record.endpoint is not None and record.endpoint.version == record.version(version).version
        in_service = served and self._promoter.serving(record) is not None  # asked without the lock: it can take long
        with self._folder.locked():
            record = self._folder.load(name)
            found = record.version(version)
            check_removable(record, found, in_service=in_service)
            kept = tuple(each for each in record.versions if each.version != found.version)
            self._folder.save(record.model_copy(update={"versions": kept}))
        return found

    def collect_garbage(self) -> list[str]:
        """Remove files that no version of any model uses; returns their names.

        Raises:
            ArtifactError, ConfigError: a record can't be read; nothing is removed.
        """
        with self._folder.locked():
            return self._folder.remove_unused()

    def serve_with(self, name: str, endpoint: str, backend: str) -> None:
        """Note which endpoint serves the live version; `promote` and `rollback` update it from then on.

        Raises:
            ConfigError: there is no such model, or no version is live.
        """
        with self._folder.locked():
            record = self._folder.load(name)
            where = EndpointOfModel(name=endpoint, backend=backend, version=record.version(LIVE).version)
            self._folder.save(record.model_copy(update={"endpoint": where}))

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.time(), UTC)
