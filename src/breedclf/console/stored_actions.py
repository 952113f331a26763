"""What buttons of the pages of models and datasets do."""

from __future__ import annotations

from collections.abc import Callable

from breedclf.console.done import Done, Fields
from breedclf.console.stored_commands import (
    check_command,
    compare_command,
    promote_command,
    review_command,
    rollback_command,
)
from breedclf.console.tasks import find_task, start_task, stop_task
from breedclf.errors import ConfigError
from breedclf.files.private_folder import make_private
from breedclf.model_store.records import ModelRecord
from breedclf.model_store.store import ModelStore
from breedclf.overview.comparisons import COMPARE, subject_of
from breedclf.overview.dataset_findings import CHECK, REVIEW, review_folder
from breedclf.overview.datasets import DatasetView
from breedclf.overview.overview import Overview

PROMOTION = "promotion"
"""The kind of tasks that move the live version; their subject is the model."""


def _promote(overview: Overview, fields: Fields) -> Done:
    record, places = _record(overview, fields), overview.places
    version = record.version(fields["version"]).version
    data = _dataset_here(overview, fields["data"]).path if fields.get("data") else ""
    command = promote_command(places.store, record.name, version, data=data, alias_only=bool(fields.get("alias_only")))
    start_task(places.home, PROMOTION, record.name, command)
    return Done(f"Promoting version {version} of {record.name}; its state is below")


def _roll_back(overview: Overview, fields: Fields) -> Done:
    record, places = _record(overview, fields), overview.places
    command = rollback_command(places.store, record.name, alias_only=bool(fields.get("alias_only")))
    start_task(places.home, PROMOTION, record.name, command)
    return Done(f"Rolling {record.name} back; its state is below")


def _alias(overview: Overview, fields: Fields) -> Done:
    record = _record(overview, fields)
    alias = fields["alias"].strip()
    version = record.version(fields["version"]).version if fields["version"] else None
    ModelStore(overview.places.store).alias(record.name, alias, version)
    return Done(f"Deleted the alias {alias}" if version is None else f"{alias} is version {version} of {record.name}")


def _compare(overview: Overview, fields: Fields) -> Done:
    record, places = _record(overview, fields), overview.places
    first, second = (record.version(fields[each]).version for each in ("first", "second"))
    data = _dataset_here(overview, fields["data"]).path
    command = compare_command(places.store, record.name, first, second, data)
    start_task(places.home, COMPARE, subject_of(record.name, first, second, data), command)
    return Done("Comparing; the result will be below")


def _check(overview: Overview, fields: Fields) -> Done:
    dataset = _dataset_here(overview, fields["data"])
    start_task(overview.places.home, CHECK, dataset.path, check_command(dataset))
    return Done(f"Checking {dataset.name}; its state is below")


def _review(overview: Overview, fields: Fields) -> Done:
    dataset, home = _dataset_here(overview, fields["data"]), overview.places.home
    make_private(review_folder(home, dataset.key))
    start_task(home, REVIEW, dataset.path, review_command(dataset, home))
    return Done(f"Reviewing the labels of {dataset.name}; its state is below")


def _stop(overview: Overview, fields: Fields) -> Done:
    task = find_task(overview.places.home, fields["task"])
    stop_task(task)
    return Done(f"Asked the {task.kind} to stop" if task.is_active else f"The {task.kind} has ended already")


def _record(overview: Overview, fields: Fields) -> ModelRecord:
    return ModelStore(overview.places.store).record(fields["name"])


def _dataset_here(overview: Overview, key: str) -> DatasetView:
    """A known dataset that is on this machine.

    Raises:
        ConfigError: it isn't.
    """
    dataset = overview.dataset(key)
    if not dataset.is_here:
        raise ConfigError(f"{dataset.path} isn't on this machine" if dataset.is_remote else f"{dataset.path} is gone")
    return dataset


STORED_ACTIONS: dict[str, Callable[[Overview, Fields], Done]] = {
    "promote-model": _promote,
    "roll-back-model": _roll_back,
    "alias-model": _alias,
    "compare-models": _compare,
    "check-data": _check,
    "review-data": _review,
    "stop-task": _stop,
}
