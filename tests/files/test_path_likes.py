"""Every public function takes a path as text, as a Path, or as any other os.PathLike."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import breedclf
from breedclf import Classifier, ProfilingSession, Trainer, TrainingConfig
from breedclf.api.endpoint import file_of
from breedclf.config import EvaluationConfig
from breedclf.data.images import as_path
from breedclf.data.preprocessing import Preprocessing
from breedclf.data_check import check
from breedclf.errors import BreedclfError
from breedclf.inference.model_directory import write_artifact
from breedclf.models.backbones.backbone import find_backbone
from breedclf.profiling.profile import Profile
from breedclf.profiling.sources import open_profile
from breedclf.testing.images import write_image_set


class Place:
    """A path of a foreign library, such as py.path or an upath."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)

    def __fspath__(self) -> str:
        return self._path


def test_settings_take_any_path_and_return_a_path(tmp_path: Path) -> None:
    place = Place(tmp_path / "x")
    config = TrainingConfig(data=place, output=place, cache_dir=place, weights=place)
    assert (config.data, config.output, config.cache_dir) == (tmp_path / "x",) * 3
    assert config.weights == str(tmp_path / "x")
    assert EvaluationConfig(output=place).output == tmp_path / "x"
    file = Place(tmp_path / "settings.toml")
    config.to_file(file)
    assert TrainingConfig.from_file(file) == config


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "model"
    card = {
        "architecture": "resnet18",
        "labels": ("Checkers", "Stripes"),
        "class_names": ("Checkers", "Stripes"),
        "preprocessing": Preprocessing(crop_px=32, resize_px=32),
    }
    write_artifact(folder, card, find_backbone("resnet18").new_network(seed=0, classes=2).state_dict())
    return folder


def test_a_model_predicts_a_foreign_path(model: Path, tmp_path: Path) -> None:
    Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(tmp_path / "black.png")
    place = Place(tmp_path / "black.png")
    classifier = Classifier(Place(model), precision="fp32")
    assert classifier.predict(place) == classifier.predict(str(tmp_path / "black.png"))
    assert classifier.predict([place]) == [classifier.predict(place)]
    assert file_of(place) == (tmp_path / "black.png").read_bytes()


@pytest.mark.parametrize(
    "use",
    [
        pytest.param(lambda place: Classifier(place), id="classifier"),
        pytest.param(lambda place: breedclf.evaluate(place, place), id="evaluate"),
        pytest.param(lambda place: breedclf.export(place), id="export"),
        pytest.param(lambda place: breedclf.Deployment(place).deploy(), id="deploy"),
        pytest.param(lambda place: check(place), id="check"),
        pytest.param(lambda place: TrainingConfig.from_file(place), id="settings"),
        pytest.param(lambda place: Trainer(TrainingConfig(data=place)).fit(), id="fit"),
        pytest.param(lambda place: ProfilingSession.attach(place), id="session"),
        pytest.param(lambda place: open_profile(place), id="open-profile"),
        pytest.param(lambda place: Profile.load(place), id="profile"),
        pytest.param(lambda place: file_of(place), id="endpoint"),
    ],
)
def test_a_missing_path_is_named_whatever_its_type(use: Callable[[os.PathLike[str]], object], tmp_path: Path) -> None:
    with pytest.raises(BreedclfError, match="missing"):
        use(Place(tmp_path / "missing"))


def test_a_url_is_recognized_in_a_foreign_path() -> None:
    with pytest.raises(BreedclfError, match="https://example.org/dog.jpg can't be read: it is a URL"):
        as_path(Place(Path("https://example.org/dog.jpg")))


def test_folders_are_created_at_a_foreign_path(tmp_path: Path) -> None:
    assert write_image_set(Place(tmp_path / "set"), classes=2, train=1, valid=1, test=1, size_px=32).is_dir()
    assert breedclf.LocalBackend(Place(tmp_path / "home")).home == tmp_path / "home"
    assert breedclf.InlineBackend(Place(tmp_path / "home")).home == tmp_path / "home"
    logger = breedclf.TensorBoardLogger(Place(tmp_path / "logs"))
    assert logger is not None
