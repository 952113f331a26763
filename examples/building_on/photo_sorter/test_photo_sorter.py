"""The tests train a real model on synthetic images: nothing is mocked, and nothing is downloaded."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from photo_sorter import UNSURE, sort_photos

from breedclf import Classifier, ImageError, JobStatus, LocalBackend, Trainer, TrainingConfig


@pytest.fixture
def inbox(breedclf_images: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "inbox"
    folder.mkdir()
    for number, image in enumerate(sorted((breedclf_images / "test").rglob("*.jpg"))):
        shutil.copy(image, folder / f"{number}.jpg")
    return folder


def test_each_photo_goes_into_one_folder(inbox: Path, tmp_path: Path, classifier: Classifier) -> None:
    counts = sort_photos(inbox, tmp_path / "album", classifier, least_probability=0.0)
    assert counts.total() == len(list(inbox.iterdir())) == len(list((tmp_path / "album").rglob("*.jpg")))
    assert set(counts) <= set(classifier.class_names)


def test_photos_that_nothing_is_sure_about_are_set_aside(inbox: Path, tmp_path: Path, classifier: Classifier) -> None:
    assert set(sort_photos(inbox, tmp_path / "album", classifier, least_probability=1.1)) == {UNSURE}


def test_a_broken_photo_is_reported_by_name(inbox: Path, tmp_path: Path, classifier: Classifier) -> None:
    (inbox / "broken.jpg").write_bytes(b"no image")
    with pytest.raises(ImageError, match="broken.jpg"):
        sort_photos(inbox, tmp_path / "album", classifier)


def test_the_model_can_be_trained_as_a_job(breedclf_config: TrainingConfig, breedclf_backend: LocalBackend) -> None:
    job = Trainer(breedclf_config, backend=breedclf_backend).submit().wait()
    assert job.status is JobStatus.COMPLETED
    assert Classifier(job.artifact).class_names
