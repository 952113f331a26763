"""`model_card`: the README of a model with the accuracy that an evaluation found."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import ValidationError

from breedclf.config.saved import from_saved
from breedclf.errors import ConfigError
from breedclf.evaluation.evaluate import METRICS_FILE
from breedclf.evaluation.metrics import Evaluation
from breedclf.files.model_folder import model_directory_at
from breedclf.files.paths import StrPath, user_path
from breedclf.inference.model_directory import ModelCard, read_card
from breedclf.inference.readme.measured import Measured, trained_data
from breedclf.inference.readme.text import readme_text
from breedclf.jobs.endpoints import artifact_of

_BESIDE = ("evaluation-test", "evaluation")
"""Where `evaluate` and a journey write the evaluation of a model that is next to it."""


def model_card(model: object, evaluation: Evaluation | StrPath | None = None, *, repository: str | None = None) -> str:
    """The model card of a model, in Hugging Face's form, as `README.md` in its directory but with its test accuracy.

    Training writes `README.md` with the validation accuracy. No command changes that file later; this returns a new
    text.

    Args:
        model: a model directory, or a job, a `FitResult` or a classifier that has one.
        evaluation: what `evaluate` returned, its `metrics.json` or the folder of that file. By default that of the test
            split which `evaluate` or a journey wrote next to the model, if it is of these weights.
        repository: where the text will be published, such as `user/name`.

    Returns:
        Markdown that starts with YAML metadata.

    Raises:
        ArtifactError: it isn't a model directory.
        ConfigError: the evaluation can't be read, or is of another model.

    Example:
        >>> text = model_card("runs/dogs/model", "runs/dogs/evaluation-test")  # doctest: +SKIP
        >>> Path("runs/dogs/model/README.md").write_text(text)  # doctest: +SKIP
    """
    found = evaluation if evaluation is None or isinstance(evaluation, Evaluation) else read_evaluation(evaluation)
    folder = model_directory_at(artifact_of(model))
    card = read_card(folder)
    if found is None:
        return readme_text(card, _beside(card, folder), repository=repository)
    if (problem := _of_another_model(card, found)) is not None:
        shown = "the evaluation" if isinstance(evaluation, Evaluation) else f"evaluation {str(evaluation)!r}"
        raise ConfigError(f"{shown} {problem}: evaluate the model again")
    return readme_text(card, _as_measured(card, found), repository=repository)


def read_evaluation(path: StrPath) -> Evaluation:
    """The evaluation in a `metrics.json`, or in the folder of one.

    Raises:
        ConfigError: there is none, or it can't be read.
    """
    file = user_path(path, "evaluation")
    if file.is_dir():
        file = file / METRICS_FILE
    try:
        return from_saved(Evaluation, json.loads(file.read_text(encoding="utf-8")), file)
    except FileNotFoundError as error:
        raise ConfigError(f"there is no {file}: `breedclf evaluate MODEL DATA` writes one") from error
    except (OSError, ValueError, TypeError, RecursionError) as error:
        why = "it isn't of an evaluation" if isinstance(error, ValidationError) else str(error)
        raise ConfigError(f"{file} can't be read: {why}; evaluate the model again") from error


def _beside(card: ModelCard, folder: Path) -> Measured | None:
    """The test accuracy in an evaluation next to the model; None if there is none of these weights."""
    for name in _BESIDE:
        try:
            found = read_evaluation(folder.parent / name)
        except ConfigError:
            continue
        if found.split == "test" and _of_another_model(card, found) is None:
            return _as_measured(card, found)
    return None


def _of_another_model(card: ModelCard, found: Evaluation) -> str | None:
    if found.labels != card.labels:
        return "is of a model with other classes"
    if found.weights_sha256 is None:
        return "is from an older version of breedclf, which doesn't say of which model"
    if found.weights_sha256 != card.weights_sha256:
        return f"is of other weights (SHA-256 {found.weights_sha256[:12]}, not {card.weights_sha256[:12]})"
    return None


def _as_measured(card: ModelCard, found: Evaluation) -> Measured:
    shown = dict(zip(found.labels, found.class_names, strict=True))
    return Measured(
        split=found.split,
        data=found.data or trained_data(card),
        accuracy=found.accuracy,
        loss=found.loss,
        count=found.count,
        confused=tuple((shown[pair.true], shown[pair.predicted], pair.count) for pair in found.most_confused),
        let_through=None if found.unlike is None else found.unlike.let_through,
    )
