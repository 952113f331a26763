"""The model card of a version in a store."""

from __future__ import annotations

from breedclf.errors import ConfigError
from breedclf.evaluation.model_card import model_card
from breedclf.model_store.records import LIVE
from breedclf.model_store.store import ModelStore


def stored_card(store: ModelStore, name: str, version: int | str = LIVE, *, repository: str | None = None) -> str:
    """The model card of a version, with the accuracy of the evaluation in its lineage if that is still there.

    Raises:
        ConfigError: there is no such version.
    """
    chosen = store.record(name).version(version)
    folder = store.model_directory(name, chosen.version)
    try:
        return model_card(folder, chosen.lineage.evaluation, repository=repository)
    except ConfigError:
        return model_card(folder, repository=repository)
