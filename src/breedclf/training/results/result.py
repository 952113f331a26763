"""The result of a training run: the model directory, the history, and the images left out."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple, Self

from breedclf.errors import ArtifactError
from breedclf.features.stored_pass import FeatureCounts
from breedclf.files.model_folder import CARD_FILE, MODEL_FOLDER
from breedclf.files.paths import user_path
from breedclf.inference.classifier import Classifier
from breedclf.inference.model_directory import read_card
from breedclf.jobs import RESULT_FILE
from breedclf.text.html_repr import html_repr
from breedclf.training.records import BeforeTraining, EpochRecord
from breedclf.training.results.artifact import HISTORY_FILE


@dataclass(frozen=True, repr=False)
class FitResult:
    """The result of a training run.

    Args:
        artifact: the model directory, in `output`.
        output: the output folder.
        history: one record per epoch.
        best_epoch: counted from 1.
        seconds: how long the run took; NaN if a run of version 0.1.0 was loaded.
        skipped: the reasons of unreadable images that were left out.
        before: metrics of the model that the run continues (`start_from`), before the first step; None without one.
        stopped: whether the run ended on request, before its last epoch.
        features: how many images passed through the frozen backbone before the first step, and how many had features in
            the store, each counted once per view; None if the run was written by an earlier version.
    """

    artifact: Path
    output: Path
    history: list[EpochRecord]
    best_epoch: int
    seconds: float
    skipped: list[str]
    before: BeforeTraining | None = None

    @classmethod
    def load(cls, folder: str | PathLike[str]) -> Self:
        """The result of an earlier run, from its output folder.

        Raises:
            ArtifactError: the folder isn't the output of a training run, or a file in it is damaged.

        Example:
            >>> FitResult.load("runs/train").best.valid_accuracy  # doctest: +SKIP
            0.94
        """
        output = user_path(folder, "folder")
        artifact, history_file = output / MODEL_FOLDER, output / HISTORY_FILE
        if not history_file.is_file():
            raise ArtifactError(_why_no_run(output))
        card = read_card(artifact)
        history = _read_history(history_file)
        best_epoch = card.training.get("best_epoch")
        if not isinstance(best_epoch, int) or not 1 <= best_epoch <= len(history):
            raise ArtifactError(
                f"{output} holds the files of different runs: the best epoch of its model is {best_epoch}, but "
                f"{history_file.name} has {len(history)}; train again"
            )
        rest = RestOfResult.read(output)
        return cls(
            artifact, output, history, best_epoch, rest.seconds, rest.skipped, rest.before, rest.stopped, rest.features
        )

    stopped: bool = False
    features: FeatureCounts | None = None

    @cached_property
    def classifier(self) -> Classifier:
        """The trained model, ready to predict."""
        return Classifier(self.artifact)

    @property
    def best(self) -> EpochRecord:
        """The record of the best epoch."""
        return self.history[self.best_epoch - 1]

    def __repr__(self) -> str:
        best = self.best
        return (
            f"FitResult({str(self.output)!r}, {len(self.history)} epochs, best epoch {best.epoch}: "
            f"valid loss {best.valid_loss:.4f}, valid accuracy {best.valid_accuracy:.1%})"
        )

    @html_repr
    def _repr_html_(self) -> str:
        from breedclf.training.results.view import result_view

        return result_view(self)

    def to_dict(self) -> dict[str, Any]:
        """The fields of `breedclf train --json`."""
        return {
            "artifact": str(self.artifact),
            "output": str(self.output),
            "history": [record.to_dict() for record in self.history],
            "best_epoch": self.best_epoch,
            "seconds": None if math.isnan(self.seconds) else round(self.seconds, 3),
            "skipped": self.skipped,
            **self.optional(),
        }

    def optional(self) -> dict[str, Any]:
        """The fields that only some runs have."""
        before = {} if self.before is None else {"before": self.before.to_dict()}
        features = {} if self.features is None else {"features": asdict(self.features)}
        return before | ({"stopped": True} if self.stopped else {}) | features


class RestOfResult(NamedTuple):
    """What a result has beside the model and the history: the fields of `result.json`."""

    skipped: list[str]
    seconds: float
    before: BeforeTraining | None
    stopped: bool
    features: FeatureCounts | None

    @classmethod
    def read(cls, output: Path) -> Self:
        """The fields in an output folder; those of a run of version 0.1.0, which wrote no such file, are empty.

        Raises:
            ArtifactError: the file is damaged.
        """
        file = output / RESULT_FILE
        values = _read_json(file) if file.is_file() else {}
        return cls(
            skipped=[str(reason) for reason in values.get("skipped", [])],
            seconds=float(values.get("seconds", math.nan)),
            before=BeforeTraining.from_dict(values["before"]) if "before" in values else None,
            stopped=bool(values.get("stopped", False)),
            features=FeatureCounts(**values["features"]) if "features" in values else None,
        )


def _why_no_run(folder: Path) -> str:
    if not folder.is_dir():
        return f"{folder} isn't the output of a training run: it {'is a file' if folder.exists() else 'does not exist'}"
    if (folder / CARD_FILE).is_file():
        return f"{folder} is a model directory: load it with Classifier({str(folder)!r}), or give the folder it is in"
    return f"{folder} isn't the output of a training run that has ended: it has no {HISTORY_FILE}"


def _read_history(file: Path) -> list[EpochRecord]:
    records = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        try:
            records.append(EpochRecord.from_dict(json.loads(line)))
        except (ValueError, TypeError, AttributeError) as error:
            raise ArtifactError(f"{file}, line {number} isn't the record of an epoch: {error}; train again") from error
    return records


def _read_json(file: Path) -> dict[str, Any]:
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ArtifactError(f"{file} isn't valid JSON: {error}; delete it, or train again") from error
    if not isinstance(values, dict):
        raise ArtifactError(f"{file} isn't a JSON object; delete it, or train again")
    return values
