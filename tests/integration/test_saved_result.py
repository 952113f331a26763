"""The result of a run is loaded from its folder, or it says why it can't be."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from breedclf import ArtifactError, FitResult


def test_a_result_is_the_same_from_its_folder(trained: tuple[FitResult, Path]) -> None:
    result = trained[0]
    loaded = FitResult.load(str(result.output))
    assert loaded.history == result.history
    assert loaded.best == result.best
    assert loaded.artifact == result.artifact
    assert (loaded.best_epoch, loaded.skipped) == (result.best_epoch, [])
    assert 0 < loaded.seconds <= result.seconds
    assert loaded.classifier.card == result.classifier.card


def test_a_run_of_the_first_version_lacks_only_its_duration(trained: tuple[FitResult, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(trained[0].output, tmp_path / "old")
    (folder / "result.json").unlink()
    loaded = FitResult.load(folder)
    assert math.isnan(loaded.seconds)
    assert json.loads(json.dumps(loaded.to_dict(), allow_nan=False))["seconds"] is None


def _cut(folder: Path) -> None:
    (folder / "history.jsonl").write_text((folder / "history.jsonl").read_text()[:-20])


def _other_run(folder: Path) -> None:
    (folder / "history.jsonl").write_text("")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        pytest.param(lambda folder: shutil.rmtree(folder), "it does not exist", id="missing"),
        pytest.param(lambda folder: (folder / "history.jsonl").unlink(), "it has no history.jsonl", id="not ended"),
        pytest.param(_cut, "history.jsonl, line 5 isn't the record of an epoch", id="cut"),
        pytest.param(_other_run, "the best epoch of its model is", id="other run"),
        pytest.param(lambda folder: shutil.rmtree(folder / "model"), "model is not a breedclf model", id="no model"),
        pytest.param(lambda folder: (folder / "result.json").write_text("[]"), "isn't a JSON object", id="result"),
    ],
)
def test_a_folder_that_holds_no_whole_run_is_refused(
    damage: Callable[[Path], object], said: str, trained: tuple[FitResult, Path], tmp_path: Path
) -> None:
    folder = shutil.copytree(trained[0].output, tmp_path / "run")
    damage(folder)
    with pytest.raises(ArtifactError) as caught:
        FitResult.load(folder)
    assert said in str(caught.value)


def test_a_model_directory_is_named_as_such(trained: tuple[FitResult, Path]) -> None:
    with pytest.raises(ArtifactError, match="is a model directory: load it with Classifier"):
        FitResult.load(trained[0].artifact)
