"""Distances and "none of these" by stored features: those of the classifier, to the bit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from breedclf import Classifier
from breedclf.cli import main
from breedclf.config.evaluation import FeatureReuse
from breedclf.data.split import ImageFiles
from breedclf.errors import ArtifactError
from breedclf.inference.feature_bank import BANK_FILE
from breedclf.inference.scoring import Scoring
from tests.serving.conftest import draw, write_model_with_bank


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model_with_bank(tmp_path_factory.mktemp("bank") / "model")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """16 images, of which the model knows every second."""
    folder = tmp_path_factory.mktemp("photos")
    paths = [folder / f"{number:02}.png" for number in range(16)]
    for number, path in enumerate(paths):
        draw(number // 2 if number % 2 else 100 + number).save(path)
    return paths


@pytest.mark.parametrize("tta", [False, True], ids=["plain", "tta"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_stored_features_give_the_answers_of_the_classifier_to_the_bit(
    model: Path, photos: list[Path], tmp_path: Path, precision: Any, tta: bool
) -> None:
    expected = Classifier(model, precision=precision, tta=tta, batch_size=8).predict(photos)
    assert all(prediction.distance is not None for prediction in expected)
    assert {prediction.known for prediction in expected} == {False, True}
    for reuse in (FeatureReuse(feature_cache=False), *[FeatureReuse(cache_dir=tmp_path)] * 2):
        scoring = Scoring.read(model, reuse, tta=tta, precision=precision, chunk_size=8, workers=0)
        assert scoring.predictions_of_files([*map(str, photos)]) == expected


def test_the_last_images_of_a_chunk_and_unreadable_ones_keep_their_places(
    model: Path, photos: list[Path], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    files = ImageFiles((photos[0], broken, photos[5], photos[3]))
    scoring = Scoring.read(model, FeatureReuse(feature_cache=False), tta=True, precision="fp32")
    found, _ = scoring.probabilities(files, "")
    classifier = Classifier(model, precision="fp32")
    assert found.distances is not None
    assert found.distances.tolist() == pytest.approx(
        [classifier.predict(photos[at]).distance for at in (0, 5, 3)], abs=1e-5
    )


def test_the_command_says_none_of_these_for_one_image_and_for_many(
    model: Path, photos: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["predict", str(model), "--cache-dir", str(tmp_path)]
    refused = [path for path in photos if not Classifier(model, batch_size=8).predict(path).known]
    assert 0 < len(refused) < len(photos)
    for images in (refused[:1], photos * 2):  # one by one, and by stored features
        assert main([*command, *map(str, images)]) == 0
        printed = capsys.readouterr().out
        assert printed.count(": none of these (distance 0.") == sum(map(refused.count, images))
        assert printed.count("; nearest:\n") == sum(map(refused.count, images))
        assert main([*command, *map(str, images), "--json"]) == 0
        answers = json.loads(capsys.readouterr().out)
        assert [Path(answer["path"]) for answer in answers if not answer["known"]] == [*filter(refused.count, images)]
        assert all(-1e-3 < answer["distance"] <= 2 and len(answer["predictions"]) == 5 for answer in answers)


def test_a_bank_of_another_model_is_refused(model: Path, tmp_path: Path) -> None:
    model = Path(shutil.copytree(model, tmp_path / "model"))
    (model / BANK_FILE).write_bytes(b"something else")
    with pytest.raises(ArtifactError, match=f"{BANK_FILE} is damaged or was replaced"):
        Scoring.read(model, FeatureReuse(feature_cache=False))
    (model / BANK_FILE).unlink()
    with pytest.raises(ArtifactError, match=f"has no {BANK_FILE}"):
        Scoring.read(model, FeatureReuse(feature_cache=False))
