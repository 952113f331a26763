"""`ModelStore`: models with versions and aliases in a folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from breedclf.errors import ConfigError, EndpointError, GateError
from breedclf.files.model_folder import model_directory_at
from breedclf.files.paths import StrPath, user_path
from breedclf.jobs.endpoints import artifact_of
from breedclf.model_store.folder import StoreFolder, digest_of
from breedclf.model_store.gate import Gate, GateCheck, gate_checks
from breedclf.model_store.lineage import card_of, files_of, lineage_of
from breedclf.model_store.records import LIVE, PREVIOUS, EndpointOfModel, ModelRecord, ModelVersion, check_model_name

if TYPE_CHECKING:
    from breedclf.backends.sagemaker.backend import SageMakerBackend
    from breedclf.backends.sagemaker.model_packages.packages import RegisteredPackage
    from breedclf.data.labeled_images import LabeledImages
    from breedclf.model_store.comparison import ModelComparison

DEFAULT_STORE = Path("models")


class ServedModel(Protocol):
    """An endpoint whose model can be replaced, such as `Endpoint`."""

    name: str

    def update(self, model: object) -> object:
        """Replace the model without a failed request; if it can't be served, raise EndpointError and keep the old."""


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

    def __init__(
        self, path: StrPath = DEFAULT_STORE, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._folder = StoreFolder(user_path(path, "store"))
        self._clock = clock

    def __repr__(self) -> str:
        return f"ModelStore({str(self._folder.path)!r})"

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
        """Copy a model into the store as the next version of `name`; a model that is a version already is that version.

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
        files = files_of(source, card)
        digest = digest_of(source, files)
        with self._folder.locked():
            record = self._folder.find(name) or ModelRecord(name=name)
            for known in record.versions:
                if known.digest == digest:
                    return known
            self._folder.put(source, files, digest)
            version = ModelVersion(
                version=record.next_version,
                digest=digest,
                added=self._clock(),
                source=str(source),
                architecture=str(card.get("architecture", "")),
                classes=len(card["labels"]),
                megabytes=sum((source / file).stat().st_size for file in files) / 1e6,
                notes=notes,
                metrics={key: value for key, value in (card.get("metrics") or {}).items() if value is not None},
                lineage=lineage_of(card, **lineage),
            )
            changes = {"versions": (*record.versions, version), "next_version": version.version + 1}
            self._folder.save(record.model_copy(update=changes))
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
    ) -> ModelComparison:
        """Compare two versions on the same images.

        Args:
            name: of the model.
            a, b: numbers or aliases of two versions.
            data: a dataset folder, a table, or labeled images; see `evaluate`.
            split: train, valid, test or `all`.

        Raises:
            ConfigError: there is no such version.
            DataError: the images can't be used, or are of other classes.
        """
        from breedclf.model_store.compare import compare_models

        record = self.record(name)
        versions = record.version(a), record.version(b)
        first, second = (self._folder.object(each.digest) for each in versions)
        shown = f"{name} {versions[0].version}", f"{name} {versions[1].version}"
        return compare_models(first, second, data, names=shown, split=split)

    def promote(
        self,
        name: str,
        version: int | str,
        *,
        data: StrPath | LabeledImages | Mapping[str, LabeledImages] | None = None,
        gate: Gate | None = None,
        endpoint: ServedModel | None = None,
        reason: str = "",
    ) -> list[GateCheck]:
        """Make a version the live one, if it passes the gate; the live one before it becomes `previous`.

        Args:
            name: of the model.
            version: its number, or an alias.
            data: images to compare it with the live model on; without them, these aren't compared.
            gate: what is required.
            endpoint: serves the live model, and is updated to this one without a failed request.
            reason: noted in the history.

        Returns:
            The checks, all passed.

        Raises:
            GateError: a check failed; nothing was changed.
            EndpointError: the endpoint can't serve the model; nothing was changed.
            ConfigError: there is no such version.
        """
        record = self.record(name)
        chosen = record.version(version)
        live = record.aliases.get(LIVE)
        against = None
        if data is not None and live is not None and live != chosen.version:
            against = self.compare(name, live, chosen.version, data=data)
        accuracy = None if against is None else (against.accuracy_b, *against.interval_b)
        checks = gate_checks(gate or Gate(), accuracy=accuracy, megabytes=chosen.megabytes, against_live=against)
        if failed := [check for check in checks if not check.passed]:
            stays = f"version {live} stays live" if live else "no version is live"
            why = "; ".join(f"{check.name}: {check.detail}" for check in failed)
            raise GateError(f"the gate refuses version {chosen.version} of {name!r}: {why}; {stays}")
        self._move(name, chosen.version, endpoint, reason or "promote")
        return checks

    def rollback(self, name: str, *, endpoint: ServedModel | None = None, reason: str = "") -> ModelVersion:
        """Make the previous version live again, and the live one `previous`.

        Raises:
            ConfigError: there is no previous version.
            EndpointError: the endpoint can't serve it; nothing was changed.
        """
        record = self.record(name)
        if PREVIOUS not in record.aliases:
            raise ConfigError(f"model {name!r} has no previous version to roll back to")
        version = record.version(PREVIOUS)
        self._move(name, version.version, endpoint, reason or "rollback")
        return version

    def alias(self, name: str, alias: str, version: int | str) -> None:
        """Let an alias name a version; it may have named another one.

        Raises:
            ConfigError: the alias is `live` or `previous`, which `promote` and `rollback` move, or isn't valid.
        """
        check_model_name(alias)
        if alias in (LIVE, PREVIOUS) or alias.isdigit():
            raise ConfigError(f"alias {alias!r}: choose another name; promote and rollback move live and previous")
        with self._folder.locked():
            record = self._folder.load(name)
            self._folder.save(record.moved({alias: record.version(version).version}, self._clock()))

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
            ConfigError: an alias names it.
        """
        with self._folder.locked():
            record = self._folder.load(name)
            found = record.version(version)
            if aliases := record.aliases_of(found.version):
                raise ConfigError(
                    f"version {found.version} of {name!r} is {' and '.join(aliases)}: promote another version first"
                )
            kept = tuple(each for each in record.versions if each.version != found.version)
            self._folder.save(record.model_copy(update={"versions": kept}))
        return found

    def collect_garbage(self) -> list[str]:
        """Remove files that no version of any model uses; returns their names."""
        with self._folder.locked():
            return self._folder.remove_unused()

    def _move(self, name: str, version: int, endpoint: ServedModel | None, reason: str) -> None:
        with self._folder.locked():
            record = self._folder.load(name)
            chosen = record.version(version)
            if endpoint is not None:
                self._folder.save(record.model_copy(update={"promoting": chosen.version}))
                try:
                    endpoint.update(self._folder.object(chosen.digest))
                except EndpointError:
                    self._folder.save(record)
                    raise
            live = record.aliases.get(LIVE)
            changes: dict[str, int | None] = {LIVE: chosen.version}
            if live is not None and live != chosen.version:
                changes[PREVIOUS] = live
            self._folder.save(record.moved(changes, self._clock(), reason).model_copy(update={"promoting": None}))

    def serve_with(self, name: str, endpoint: str, backend: str) -> None:
        """Note which endpoint serves the live version."""
        with self._folder.locked():
            record = self._folder.load(name)
            self._folder.save(record.model_copy(update={"endpoint": EndpointOfModel(name=endpoint, backend=backend)}))
