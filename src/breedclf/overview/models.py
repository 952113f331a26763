"""Stored models as lists and pages show them: versions, aliases, and links to what each version comes from."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from breedclf.errors import BreedclfError, ConfigError
from breedclf.model_store.lineage import config_changes
from breedclf.model_store.records import ModelRecord, ModelVersion
from breedclf.model_store.store import ModelStore
from breedclf.overview.whole_paths import whole_path


@dataclass(frozen=True)
class ModelView:
    """A model in a store; `record` is None if it can't be read, and `problem` says why."""

    name: str
    record: ModelRecord | None = None
    problem: BreedclfError | None = None

    def readable(self) -> ModelRecord:
        """The record.

        Raises:
            BreedclfError: it can't be read.
        """
        if self.record is None:
            raise self.problem or ConfigError(f"model {self.name!r} can't be read")
        return self.record

    def to_dict(self) -> dict[str, Any]:
        """The document of `breedclf models list --json` and of `/api/models`."""
        if self.record is None:
            return {"name": self.name, "problem": str(self.problem)}
        return record_document(self.record)


def model_views(store: ModelStore) -> tuple[ModelView, ...]:
    """All models of a store, by name; a damaged one doesn't hide the others."""
    return tuple(model_view(store, name) for name in store.names)


def model_view(store: ModelStore, name: str) -> ModelView:
    """One model of a store."""
    try:
        return ModelView(name, store.record(name))
    except BreedclfError as error:
        return ModelView(name, problem=error)


def version_document(record: ModelRecord, version: ModelVersion) -> dict[str, Any]:
    """The document of a version: its fields and its aliases."""
    return {"name": record.name, **version.model_dump(mode="json"), "aliases": record.aliases_of(version.version)}


def record_document(record: ModelRecord) -> dict[str, Any]:
    """The document of a model: its fields, and its versions, the newest first."""
    values = record.model_dump(mode="json", exclude={"schema_version", "next_version", "versions"})
    return {**values, "versions": [version_document(record, version) for version in reversed(record.versions)]}


@dataclass(frozen=True)
class Known:
    """What can be linked to: names of jobs and searches, and names in addresses by folder of the others."""

    jobs: Collection[str] = ()
    searches: Collection[str] = ()
    journeys: Mapping[str, str] = field(default_factory=dict)
    profiles: Mapping[str, str] = field(default_factory=dict)
    data: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Origin:
    """Something that a version comes from, or that serves it; `path` is that of its page, empty if there is none."""

    kind: str
    text: str
    path: str = ""


def origins_of(version: ModelVersion, known: Known) -> list[Origin]:
    """The job, search, data, journey, profile, evaluation and review of a version, as far as its lineage names them.

    Example:
        >>> from breedclf.model_store.records import Lineage
        >>> values = {"version": 1, "digest": "0" * 64, "added": 0, "source": "/home/jobs/a-1/output/model"}
        >>> lineage = Lineage(tuning_job="a")
        >>> version = ModelVersion(**values, architecture="", classes=2, megabytes=1, lineage=lineage)
        >>> [each.path for each in origins_of(version, Known(jobs=["a-1"], searches=["a"]))]
        ['/jobs/a-1', '/searches/a']
    """
    lineage = version.lineage
    job = lineage.trial or job_of(version.source)
    found = [
        Origin("job", job, _page("/jobs", job, known.jobs)) if job else None,
        _named("search", lineage.tuning_job, "/searches", known.searches),
        _placed("data", lineage.data, "/data", known.data),
        _placed("journey", lineage.journey, "/journeys", known.journeys),
        _placed("profile", lineage.profile, "/profiles", known.profiles),
        Origin("evaluation", lineage.evaluation) if lineage.evaluation else None,
        Origin("review", lineage.review) if lineage.review else None,
    ]
    return [each for each in found if each is not None]


def endpoint_of(record: ModelRecord, backend: str) -> Origin | None:
    """The endpoint that serves a model; it has a page on its own backend alone."""
    where = record.endpoint
    if where is None:
        return None
    served = f", version {where.version}" if where.version else ""
    path = f"/endpoints/{where.name}" if where.backend == backend else ""
    return Origin("endpoint", f"{where.name} on {where.backend}{served}", path)


def job_of(source: str) -> str:
    """The job that wrote a model, by the folder that it was added from; empty if it wasn't a job's.

    Example:
        >>> job_of("/home/me/.breedclf/jobs/dogs-3/output/model"), job_of("runs/dogs/model")
        ('dogs-3', '')
    """
    parts = Path(source).parts
    places = [at for at, part in enumerate(parts[:-1]) if part == "jobs"]
    return parts[places[-1] + 1] if places and len(parts) > places[-1] + 2 else ""


@dataclass(frozen=True)
class Differences:
    """Two versions of a model, the settings that differ, and their metrics: name, and the values of both."""

    first: ModelVersion
    second: ModelVersion
    settings: Mapping[str, tuple[object, object]]
    metrics: tuple[tuple[str, float | None, float | None], ...]


def differences(first: ModelVersion, second: ModelVersion) -> Differences:
    """What differs between two versions."""
    names = sorted(first.metrics.keys() | second.metrics.keys())
    metrics = tuple((name, first.metrics.get(name), second.metrics.get(name)) for name in names)
    return Differences(first, second, config_changes(first.lineage.config, second.lineage.config), metrics)


def data_of(record: ModelRecord, versions: Iterable[ModelVersion] = ()) -> list[str]:
    """The datasets that versions of a model were trained on, those of `versions` first, each once."""
    ordered = [*versions, *reversed(record.versions)]
    return list(dict.fromkeys(each.lineage.data for each in ordered if each.lineage.data))


def _named(kind: str, name: str | None, path: str, known: Collection[str]) -> Origin | None:
    return Origin(kind, name, _page(path, name, known)) if name else None


def _placed(kind: str, folder: str | None, path: str, names: Mapping[str, str]) -> Origin | None:
    """Something in a folder, whose page has the name that the folder has among `names`."""
    if not folder:
        return None
    name = names.get(whole_path(folder), "")
    return Origin(kind, folder, f"{path}/{name}" if name else "")


def _page(path: str, name: str, known: Collection[str]) -> str:
    return f"{path}/{name}" if name in known else ""
