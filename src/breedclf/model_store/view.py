"""What a notebook shows of a store and of a model in it."""

from __future__ import annotations

from datetime import datetime

from breedclf.errors import BreedclfError
from breedclf.model_store.records import ModelRecord
from breedclf.model_store.store import ModelStore
from breedclf.model_store.summary import COLUMNS, history_lines, measured_accuracy, state_of, version_rows
from breedclf.reporting.blocks import Column, bullets, details, table
from breedclf.reporting.notebook import notebook_view, quiet

_NUMERIC = ("version", "MB")


def store_view(store: ModelStore) -> str:
    """The HTML of a `ModelStore`: a row of each model; a damaged record doesn't hide the others."""
    columns: list[Column | str] = ["model", Column("versions", numeric=True), "live", "test accuracy", "state"]
    rows = [_row(store, name) for name in store.names]
    return notebook_view(f"Models in {store.path}", table("", columns, rows, empty="No models."))


def record_view(record: ModelRecord, now: datetime) -> str:
    """The HTML of a `ModelRecord`: its versions, the newest first, and how the aliases moved."""
    columns = [Column(name, numeric=name in _NUMERIC) for name in COLUMNS]
    history = history_lines(record)
    return notebook_view(
        f"Model {record.name}",
        quiet(state_of(record)),
        table("", columns, version_rows(record, now), empty="No versions."),
        *([details("History", bullets(history))] if history else []),
    )


def _row(store: ModelStore, name: str) -> tuple[object, ...]:
    try:
        record = store.record(name)
    except BreedclfError as error:
        return name, None, None, None, str(error)
    accuracy = None if record.live is None else measured_accuracy(record.version(record.live))
    return name, len(record.versions), record.live, accuracy, state_of(record)
