"""What is shown of a model in a store, as text for the command line and notebooks."""

from __future__ import annotations

from datetime import datetime

from breedclf.model_store.records import ModelRecord, ModelVersion
from breedclf.reporting.formats import ABSENT, percent, plain

COLUMNS = ("version", "aliases", "architecture", "test accuracy", "valid accuracy", "MB", "age", "notes")
_AGES = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def version_rows(record: ModelRecord, now: datetime) -> list[tuple[str, ...]]:
    """A row of each version with the cells of `COLUMNS`, the newest first."""
    return [
        (
            str(version.version),
            ", ".join(record.aliases_of(version.version)),
            version.architecture,
            measured_accuracy(version),
            _share(version, "valid_accuracy"),
            plain(version.megabytes, 3),
            age((now - version.added).total_seconds()),
            version.notes,
        )
        for version in reversed(record.versions)
    ]


def measured_accuracy(version: ModelVersion) -> str:
    """The accuracy on test images with its interval, a dash if it wasn't measured."""
    low, high = _share(version, "test_accuracy_low"), _share(version, "test_accuracy_high")
    return _share(version, "test_accuracy") + ("" if ABSENT in (low, high) else f" ({low} to {high})")


def age(seconds: float) -> str:
    """A duration in its largest unit.

    Example:
        >>> age(90), age(7200), age(200_000)
        ('1 min', '2 h', '2 d')
    """
    for length, unit in _AGES:
        if seconds >= length:
            return f"{seconds // length:.0f} {unit}"
    return "0 s"


def state_of(record: ModelRecord) -> str:
    """Which versions the aliases name, and which endpoint serves one, in one line."""
    aliases = sorted(record.aliases.items(), key=lambda each: (each[0] not in ("live", "previous"), each[0]))
    parts = [f"version {version} is {alias}" for alias, version in aliases] or ["no version is live"]
    if record.endpoint is not None:
        served = f"version {record.endpoint.version}" if record.endpoint.version else "a version"
        parts.append(f"endpoint {record.endpoint.name} on {record.endpoint.backend} serves {served}")
    if record.promoting is not None:
        parts.append(
            f"the promotion of version {record.promoting.version} to endpoint {record.promoting.endpoint.name} is "
            "under way or was interrupted"
        )
    return "; ".join(parts)


def history_lines(record: ModelRecord) -> list[str]:
    """The moves of aliases, the latest first."""
    return [
        f"{change.at:%Y-%m-%d %H:%M:%S}  {change.alias}: {_numbered(change.before)} -> {_numbered(change.after)}"
        + (f"  ({change.reason})" if change.reason else "")
        for change in reversed(record.history)
    ]


def facts_of(record: ModelRecord, version: ModelVersion) -> list[tuple[str, str]]:
    """What a version is, as names and values."""
    facts = [
        ("aliases", ", ".join(record.aliases_of(version.version)) or "none"),
        ("added", f"{version.added:%Y-%m-%d %H:%M:%S} UTC from {version.source}"),
        ("model", f"{version.architecture}, {version.classes:,} classes, {plain(version.megabytes, 3)} MB"),
        ("test accuracy", measured_accuracy(version)),
        ("valid accuracy", _share(version, "valid_accuracy")),
    ]
    return [*facts, ("notes", version.notes)] if version.notes else facts


def lineage_facts(version: ModelVersion) -> list[tuple[str, str]]:
    """Where a version comes from, as names and values."""
    lineage = version.lineage
    found = {
        "data": lineage.data,
        "data fingerprint": lineage.data_fingerprint,
        "breedclf": lineage.breedclf_version,
        "torch": lineage.torch_version,
        "code bundle": lineage.code,
        "started from": lineage.started_from,
        "tuning job": lineage.tuning_job,
        "trial": lineage.trial,
        "profile": lineage.profile,
        "evaluation": lineage.evaluation,
        "review": lineage.review,
        "journey": lineage.journey,
        "digest": version.digest,
        "settings": ", ".join(f"{name}={lineage.config[name]}" for name in _SETTINGS if name in lineage.config),
    }
    return [(name, value) for name, value in found.items() if value]


_SETTINGS = ("epochs", "batch_size", "learning_rate", "freeze", "optimizer", "augment", "seed")


def _share(version: ModelVersion, metric: str) -> str:
    value = version.metrics.get(metric)
    return ABSENT if value is None else percent(value)


def _numbered(version: int | None) -> str:
    return "none" if version is None else str(version)
