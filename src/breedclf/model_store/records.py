"""What a store knows about a model: its versions, where each comes from, and which of them the aliases name."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from breedclf.errors import ConfigError
from breedclf.text.html_repr import html_repr

SCHEMA_VERSION = 1
LIVE, PREVIOUS = "live", "previous"
"""The aliases that `promote` and `rollback` move: the model in service, and the one before it."""

MAX_NAME_CHARS = 64
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")


class _Frozen(BaseModel):
    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())


class Lineage(_Frozen):
    """Where a model comes from.

    `config` are the training settings; `code` is the SHA-256 of the code bundle of its job, None if it was trained in
    the caller's process. `tuning_job`, `trial`, `profile`, `evaluation`, `review` and `journey` name what belongs to
    it, None if there is none or it isn't known.
    """

    data: str | None = None
    data_fingerprint: str = ""
    config: dict[str, Any] = Field(default_factory=dict)
    code: str | None = None
    breedclf_version: str = ""
    torch_version: str = ""
    started_from: str | None = None
    tuning_job: str | None = None
    trial: str | None = None
    profile: str | None = None
    evaluation: str | None = None
    review: str | None = None
    journey: str | None = None


class ModelVersion(_Frozen):
    """A model in the store; `digest` is the SHA-256 of its files, by which it is stored."""

    version: int = Field(ge=1)
    digest: str = Field(pattern=r"^[0-9a-f]{64}$")
    added: datetime
    source: str
    architecture: str
    classes: int
    megabytes: float
    notes: str = ""
    metrics: dict[str, float] = Field(default_factory=dict)
    lineage: Lineage = Lineage()

    def with_more(self, metrics: dict[str, float], lineage: Lineage, notes: str) -> ModelVersion:
        """The version with what has become known since it was added, such as an evaluation."""
        found = {name: value for name, value in lineage.model_dump().items() if value}
        changes = {
            "metrics": self.metrics | metrics,
            "lineage": self.lineage.model_copy(update=found),
            "notes": notes or self.notes,
        }
        return self.model_copy(update=changes)


class EndpointOfModel(_Frozen):
    """The endpoint of a model, and the version that it serves; 0 if that isn't known."""

    name: str
    backend: str
    version: int = 0


class Promotion(_Frozen):
    """An endpoint is being updated to a version; `generation` is the one that it served before."""

    version: int = Field(ge=1)
    endpoint: EndpointOfModel
    generation: int
    reason: str = ""


class AliasChange(_Frozen):
    """An alias was moved: from and to a version, None for nothing."""

    alias: str
    before: int | None
    after: int | None
    at: datetime
    reason: str = ""


class ModelRecord(_Frozen):
    """The contents of `models/NAME.json`.

    `promoting` is there while the endpoint is updated. If that is interrupted, it stays until the next `promote` or
    `rollback`, which finishes or undoes it.
    """

    schema_version: int = SCHEMA_VERSION
    name: str
    versions: tuple[ModelVersion, ...] = ()
    aliases: dict[str, Annotated[int, Field(ge=1)]] = Field(default_factory=dict)
    next_version: int = 1
    endpoint: EndpointOfModel | None = None
    promoting: Promotion | None = None
    history: tuple[AliasChange, ...] = ()

    def __repr__(self) -> str:
        return f"ModelRecord({self.name!r}, {len(self.versions)} versions, live: {self.live})"

    @html_repr
    def _repr_html_(self) -> str:
        from breedclf.model_store.view import record_view

        return record_view(self, datetime.now(UTC))

    @model_validator(mode="after")
    def _aliases_name_versions(self) -> Self:
        numbers = [version.version for version in self.versions]
        if len({*numbers}) < len(numbers) or max(numbers, default=0) >= self.next_version:
            raise ValueError("version numbers must be unique and below next_version")
        for alias, number in self.aliases.items():
            if number not in numbers:
                raise ValueError(f"alias {alias} names version {number}, which isn't there")
        return self

    def version(self, which: int | str) -> ModelVersion:
        """The version of this number or alias.

        Raises:
            ConfigError: there is none.
        """
        number = self.aliases.get(which) if isinstance(which, str) and not which.isdecimal() else int(which)
        for each in self.versions:
            if each.version == number:
                return each
        known = ", ".join(str(each.version) for each in self.versions) or "none"
        aliases = "".join(f", {alias} ({version})" for alias, version in sorted(self.aliases.items()))
        raise ConfigError(f"model {self.name!r} has no version {which!r}; there are: {known}{aliases}")

    @property
    def live(self) -> int | None:
        """The number of the live version, None if there is none."""
        return self.aliases.get(LIVE)

    def with_version(self, version: ModelVersion) -> ModelRecord:
        """The record with this version, in place of the one with the same number if there is one."""
        others = [each for each in self.versions if each.version != version.version]
        versions = tuple(sorted([*others, version], key=lambda each: each.version))
        return self.model_copy(
            update={"versions": versions, "next_version": max(self.next_version, version.version + 1)}
        )

    def aliases_of(self, version: int) -> list[str]:
        """The aliases of a version, in alphabetical order."""
        return sorted(alias for alias, number in self.aliases.items() if number == version)

    def with_live(self, version: int, at: datetime, reason: str) -> ModelRecord:
        """The record with this version live; the live one before it is `previous`, and no promotion is under way."""
        changes: dict[str, int | None] = {LIVE: version}
        if self.live not in (None, version):
            changes[PREVIOUS] = self.live
        return self.moved(changes, at, reason).model_copy(update={"promoting": None})

    def moved(self, changes: dict[str, int | None], at: datetime, reason: str = "") -> ModelRecord:
        """The record with aliases moved to versions, or removed with None."""
        aliases, history = dict(self.aliases), list(self.history)
        for alias, after in changes.items():
            before = aliases.pop(alias, None)
            if after is not None:
                aliases[alias] = after
            if before != after:
                history.append(AliasChange(alias=alias, before=before, after=after, at=at, reason=reason))
        return self.model_copy(update={"aliases": aliases, "history": tuple(history)})


def check_model_name(name: str) -> str:
    """Check the name of a model or an alias.

    Raises:
        ConfigError: it is too long, or has characters that not every file system can store.
    """
    if len(name) > MAX_NAME_CHARS or not _NAME.fullmatch(name):
        raise ConfigError(
            f"name {name!r}: use at most {MAX_NAME_CHARS} letters, digits and, between them, hyphens, dots and "
            "underscores"
        )
    return name


def check_alias(name: str) -> str:
    """Check the name of an alias that users move.

    Raises:
        ConfigError: `promote` and `rollback` move it, it is a number, or it isn't a valid name.
    """
    check_model_name(name)
    if name in (LIVE, PREVIOUS) or name.isdecimal():
        raise ConfigError(f"alias {name!r}: choose another name; promote and rollback move live and previous")
    return name


def check_removable(record: ModelRecord, version: ModelVersion, *, in_service: bool) -> None:
    """Check that nothing uses a version; `in_service`, that the endpoint it was deployed to exists.

    Raises:
        ConfigError: something does.
    """
    what = f"version {version.version} of {record.name!r}"
    if aliases := record.aliases_of(version.version):
        remedy = (
            "promote another version first"
            if LIVE in aliases
            else "it can be removed once another version is previous"
            if PREVIOUS in aliases
            else "move or delete the alias first"
        )
        raise ConfigError(f"{what} is {' and '.join(aliases)}: {remedy}")
    if record.promoting is not None and record.promoting.version == version.version:
        raise ConfigError(f"{what} is being promoted, or that was interrupted: promote it or another one first")
    if in_service and record.endpoint is not None and record.endpoint.version == version.version:
        raise ConfigError(
            f"{what} is served by endpoint {record.endpoint.name!r} on the backend {record.endpoint.backend}: promote "
            "another version to it, or delete the endpoint first"
        )
