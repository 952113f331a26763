"""Commands that change or compare stored models, and examine datasets, as a terminal takes them."""

from __future__ import annotations

from pathlib import Path

from breedclf.model_store.store import DEFAULT_STORE
from breedclf.overview.dataset_findings import review_folder
from breedclf.overview.datasets import DatasetView

Command = list[str]


def promote_command(store: Path, name: str, version: int | str, *, data: str = "", alias_only: bool = False) -> Command:
    """Make a version live, if it passes the gate.

    Example:
        >>> " ".join(promote_command(DEFAULT_STORE, "dogs", 2, data="/data/dogs"))
        'breedclf models promote dogs 2 --data /data/dogs'
    """
    words = ["breedclf", "models", "promote", name, str(version)]
    words += ["--data", data] if data else []
    return [*words, *(["--no-endpoint"] if alias_only else []), *_store(store)]


def rollback_command(store: Path, name: str, *, alias_only: bool = False) -> Command:
    """Make the previous version live again."""
    return ["breedclf", "models", "rollback", name, *(["--no-endpoint"] if alias_only else []), *_store(store)]


def alias_command(store: Path, name: str, alias: str, version: int | str | None) -> Command:
    """Let an alias name a version; None removes it."""
    last = ["--delete"] if version is None else [str(version)]
    return ["breedclf", "models", "alias", name, alias, *last, *_store(store)]


def compare_command(store: Path, name: str, first: int | str, second: int | str, data: str) -> Command:
    """Compare two versions on the images of a dataset."""
    return ["breedclf", "models", "compare", name, str(first), str(second), data, *_store(store)]


def check_command(dataset: DatasetView) -> Command:
    """Decode every image of a dataset, and list problems."""
    return ["breedclf", "data", "check", dataset.path]


def review_command(dataset: DatasetView, home: Path) -> Command:
    """Find wrong labels, near duplicates and outliers; the files are written into the console's folder."""
    folder = str(review_folder(home, dataset.key))
    return ["breedclf", "data", "review", dataset.path, *dataset.review_settings, "--output", folder]


def _store(store: Path) -> Command:
    return [] if store == DEFAULT_STORE else ["--store", str(store)]
