"""Distances and "none of these" by stored features: those of the classifier, to the bit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from breedclf import Classifier, Trainer, TrainingConfig
from breedclf.cli import main
from breedclf.config.evaluation import FeatureReuse
from breedclf.data.split import ImageFiles
from breedclf.errors import ArtifactError
from breedclf.files.model_folder import CARD_FILE
from breedclf.inference.feature_bank import BANK_FILE
from breedclf.inference.scoring import Scoring
from tests.integration.conftest import QUICK, write_patterns


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> TrainingConfig:
    """A training run with enough images for a feature bank; its threshold is lowered, so that test images exceed it."""
    root = tmp_path_factory.mktemp("run")
    data = write_patterns(root / "images", counts={"train": 16, "valid": 4, "test": 4})
    config = TrainingConfig(data=data, output=root / "out", cache_dir=root / "cache", epochs=1, **QUICK)
    result = Trainer(config).fit()
    distances = sorted(each.distance or 0 for each in result.classifier.predict(photos_of(config)))
    card = result.artifact / CARD_FILE
    values = json.loads(card.read_text())
    values["feature_bank"]["threshold"] = (distances[3] + distances[4]) / 2
    card.write_text(json.dumps(values))
    return config


def photos_of(run: TrainingConfig) -> list[Path]:
    assert run.data is not None
    return sorted(run.data.glob("test/*/*.png"))


@pytest.fixture
def photos(run: TrainingConfig) -> list[Path]:
    return photos_of(run)


@pytest.mark.parametrize("tta", [False, True], ids=["plain", "tta"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_stored_features_give_the_answers_of_the_classifier_to_the_bit(
    run: TrainingConfig, photos: list[Path], precision: Any, tta: bool
) -> None:
    model = run.output / "model"
    expected = Classifier(model, precision=precision, tta=tta, batch_size=8).predict(photos)
    assert all(prediction.distance is not None for prediction in expected)
    assert {prediction.known for prediction in expected} == {False, True}
    for reuse in (FeatureReuse(feature_cache=False), *[FeatureReuse(cache_dir=run.cache_dir)] * 2):
        scoring = Scoring.read(model, reuse, tta=tta, precision=precision)
        assert scoring.predictions_of_files([*map(str, photos)]) == expected


def test_the_last_images_of_a_chunk_and_unreadable_ones_keep_their_places(
    run: TrainingConfig, photos: list[Path], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    files = ImageFiles((photos[0], broken, photos[5], photos[3]))
    scoring = Scoring.read(run.output / "model", FeatureReuse(feature_cache=False), tta=True, precision="fp32")
    found, _ = scoring.probabilities(files, "")
    classifier = Classifier(run.output / "model", precision="fp32")
    assert found.distances is not None
    assert found.distances.tolist() == pytest.approx(
        [classifier.predict(photos[at]).distance for at in (0, 5, 3)], abs=1e-5
    )


def test_the_command_says_none_of_these_for_one_image_and_for_many(
    run: TrainingConfig, photos: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["predict", str(run.output / "model"), "--cache-dir", str(run.cache_dir)]
    refused = [path for path in photos if not Classifier(run.output / "model", batch_size=8).predict(path).known]
    assert 0 < len(refused) < len(photos)
    for images in (refused[:1], photos):  # one by one, and by stored features
        assert main([*command, *map(str, images)]) == 0
        printed = capsys.readouterr().out
        assert printed.count(": none of these (distance 0.") == len({*images} & {*refused})
        assert printed.count("; nearest:\n") == len({*images} & {*refused})
        assert main([*command, *map(str, images), "--json"]) == 0
        answers = json.loads(capsys.readouterr().out)
        assert [Path(answer["path"]) for answer in answers if not answer["known"]] == [*filter(refused.count, images)]
        assert all(0 < answer["distance"] <= 2 and len(answer["predictions"]) == 2 for answer in answers)


def test_a_bank_of_another_model_is_refused(run: TrainingConfig, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(run.output / "model", model)
    (model / BANK_FILE).write_bytes(b"something else")
    with pytest.raises(ArtifactError, match=f"{BANK_FILE} is damaged or was replaced"):
        Scoring.read(model, FeatureReuse(feature_cache=False))
    (model / BANK_FILE).unlink()
    with pytest.raises(ArtifactError, match=f"has no {BANK_FILE}"):
        Scoring.read(model, FeatureReuse(feature_cache=False))
