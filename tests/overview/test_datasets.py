"""Datasets by what names them, what is in their folders, what was found, and thumbnails of nothing outside them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from breedclf import ModelStore
from breedclf.backends.common.folder import create_job_folder
from breedclf.errors import ImageError
from breedclf.jobs import JobSpec
from breedclf.journey.record import JourneyRecord, Outcome, StepRecord
from breedclf.overview import dataset_contents, dataset_images
from breedclf.overview.dataset_contents import ContentsReader
from breedclf.overview.dataset_findings import Findings, review_folder
from breedclf.overview.dataset_images import SIDE_PX, DatasetImages, path_inside
from breedclf.overview.datasets import DatasetView, Use, Uses, dataset_views, job_use, key_of
from breedclf.overview.models import model_views
from tests.model_store.stored import write_model


def write_pictures(root: Path, *paths: str, side_px: int = 24) -> Path:
    for number, path in enumerate(paths):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (side_px, side_px), (number * 40 % 256, 90, 120)).save(root / path)
    return root


def submit(home: Path, name: str, data: Path, created: float, **tags: str) -> None:
    spec = JobSpec(name=name, channels={"training": data}, hyperparameters={"architecture": "resnet18"}, tags=tags)
    create_job_folder(home, spec, backend="local", options={}, now=created)


def check_values(problems: int = 0) -> dict[str, object]:
    found = [{"kind": "tiny", "path": f"{number}.png", "detail": "<b>"} for number in range(problems)]
    return {"pictures": 5, "readable": 4, "classes": {"a": {}}, "problems": found, "notes": ["a note"], "folder": "x"}


def write_journey(folder: Path, data: Path) -> None:
    folder.mkdir(parents=True)
    outcome = Outcome(headline="", values=check_values(2))
    step = StepRecord(
        name="check",
        status="Completed",
        inputs={"dataset": str(data)},
        seconds=1,
        outcome=outcome,
        python="",
        command="",
    )
    JourneyRecord(steps=(step,)).save(folder)


def test_datasets_are_found_by_all_that_name_them(tmp_path: Path) -> None:
    home, runs, dogs = tmp_path / "home", tmp_path / "runs", tmp_path / "dogs"
    submit(home, "dogs-1", dogs, 1.0, **{"breedclf-tuning": "dogs"})
    submit(home, "birds", tmp_path / "birds", 2.0)
    (home / "jobs/broken").mkdir()
    (home / "jobs/broken/job.json").write_text("{")
    write_journey(runs / "one", dogs)
    (runs / "damaged").mkdir()
    (runs / "damaged/journey.json").write_text("[")
    store = ModelStore(tmp_path / "models")
    store.add(write_model(tmp_path / "run/model"), name="cats", data="s3://bucket/cats")
    uses = Uses()
    found = dataset_views(uses.of(home, runs, model_views(store), [tmp_path / "given"]))
    assert [view.name for view in found] == ["birds", "cats", "dogs", "given"]
    by_name = {view.name: view for view in found}
    assert by_name["dogs"].searches == ["dogs"]
    assert by_name["dogs"].named("journey") == ["one"]
    assert by_name["cats"].is_remote
    assert not by_name["birds"].is_here
    assert by_name["cats"].path == "s3://bucket/cats"
    shutil.rmtree(home / "jobs/birds")
    assert "birds" not in {view.name for view in dataset_views(uses.of(home, runs, (), ()))}
    assert list(Uses().of(tmp_path / "no", tmp_path / "no", (), ())) == []


@pytest.mark.parametrize(
    "state", [None, {}, {"spec": []}, {"spec": {"channels": {"training": 3}}}, {"spec": {"channels": {}}}]
)
def test_a_job_without_data_names_none(state: dict[str, object] | None) -> None:
    assert job_use("x", state) is None


def test_a_review_uses_the_network_that_was_trained_last() -> None:
    uses = (Use("model", "m", "/d"), Use("job", "a", "/d", architecture="resnet18", weights="w.pth"))
    assert DatasetView("k", "/d", uses).review_settings == ["--architecture", "resnet18", "--weights", "w.pth"]
    assert DatasetView("k", "/d", uses[:1]).review_settings == []
    assert key_of("/data/<b>") != key_of("/other/<b>")
    assert "/" not in key_of("/data/../<b>")


def test_a_folder_is_listed_again_only_when_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_pictures(tmp_path / "d", "train/a/1.png", "train/b/1.png", "train/b/2.png", "valid/a/1.png")
    read = dataset_contents.read_contents
    listed: list[Path] = []

    def counted(path: Path) -> dataset_contents.Contents:
        listed.append(path)
        return read(path)

    monkeypatch.setattr(dataset_contents, "read_contents", counted)
    now = [0.0]
    reader = ContentsReader(lambda: now[0])
    assert reader.of(str(root)).per_split == {"train": 3, "valid": 1}
    assert reader.of(str(root)).classes == (("a", (1, 1)), ("b", (2, 0)))
    assert len(listed) == 1
    write_pictures(root, "train/a/2.png")
    os.utime(root / "train/a", ns=(1, 1))
    assert reader.of(str(root)).images == 5
    now[0] = dataset_contents.LONGEST_SECONDS + 1
    reader.of(str(root))
    assert len(listed) == 3
    shutil.rmtree(root)
    assert "does not exist" in reader.of(str(root)).problem
    (tmp_path / "table.csv").write_text("path,label\n")
    assert "table" in reader.of(str(tmp_path / "table.csv")).note


def test_ten_thousand_images_are_counted_and_then_only_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for label in range(20):
        folder = tmp_path / f"d/train/{label:02}"
        folder.mkdir(parents=True)
        for number in range(500):
            (folder / f"{number}.jpg").touch()
    reader = ContentsReader()
    found = reader.of(str(tmp_path / "d"))
    assert (found.images, len(found.classes)) == (10_000, 20)
    monkeypatch.setattr(dataset_contents, "read_contents", None)
    assert reader.of(str(tmp_path / "d")) is found


def test_results_of_checks_and_reviews_are_found(tmp_path: Path) -> None:
    home, runs, data = tmp_path / "home", tmp_path / "runs", tmp_path / "dogs"
    key = key_of(str(data))
    findings = Findings(home, runs)
    assert findings.check(str(data), ()) is None
    assert findings.review(str(data), key) is None
    write_journey(runs / "one", data)
    check = findings.check(str(data), ())
    assert check is not None
    assert (check.source, check.images, len(check.problems)) == ("journey one", 5, 2)
    suspect = {
        "path": "a/1.png", "split": "train", "given": "a", "proposed": "b", "probability_wrong": 0.9,
        "neighbours": [{"path": "b/1.png", "class": "b", "similarity": 0.99}],
    }  # fmt: skip
    document = {
        "folder": str(data), "count": 3, "suspects": [suspect], "outliers": [], "refused": None, "skipped": [],
        "near_duplicates": [{"paths": ["a", "b"], "splits": ["x", "y"], "labels": ["1", "2"], "similarity": 1,
                             "across_splits": True}],
    }  # fmt: skip
    for folder, values in ((runs / "review", document), (runs / "other", {**document, "folder": "/other"})):
        folder.mkdir()
        (folder / "review.json").write_text(json.dumps(values))
    (runs / "review-2").mkdir()
    (runs / "review-2/review.json").write_text("{")
    review = findings.review(str(data), key)
    assert review is not None
    assert review.folder == runs / "review"
    assert review.suspects[0].neighbors[0].label == "b"
    own = review_folder(home, key)
    own.mkdir(parents=True)
    (own / "review.json").write_text(json.dumps({**document, "suspects": []}))
    os.utime(own / "review.json", (4e9, 4e9))
    latest = findings.review(str(data), key)
    assert latest is not None
    assert latest.folder == own


def outside(root: Path) -> str:
    write_pictures(root.parent, "secret.png")
    return "../secret.png"


def absolute(root: Path) -> str:
    return str(root / "a/1.png")


def through_a_link(root: Path) -> str:
    write_pictures(root.parent, "secret/2.png")
    (root / "link").symlink_to(root.parent / "secret")
    return "link/2.png"


def linked_file(root: Path) -> str:
    write_pictures(root.parent, "secret.png")
    (root / "a/9.png").symlink_to(root.parent / "secret.png")
    return "a/9.png"


def no_image(root: Path) -> str:
    (root / "a/notes.txt").write_text("secret")
    return "a/notes.txt"


def fifo(root: Path) -> str:
    os.mkfifo(root / "a/pipe.png")
    return "a/pipe.png"


def nothing(_root: Path) -> str:
    return "a/2.png"


def null(_root: Path) -> str:
    return "a/1\0.png"


def loop(root: Path) -> str:
    (root / "a/3.png").symlink_to(root / "a/3.png")
    return "a/3.png"


@pytest.mark.parametrize(
    "name_of", [outside, absolute, through_a_link, linked_file, no_image, fifo, nothing, null, loop]
)
def test_no_thumbnail_of_anything_outside_or_else(tmp_path: Path, name_of: Callable[[Path], str]) -> None:
    root = write_pictures(tmp_path / "d", "a/1.png")
    with pytest.raises(ImageError):
        DatasetImages().thumbnail(str(root), name_of(root))


def test_a_thumbnail_is_small_made_once_and_again_after_a_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_pictures(tmp_path / "d", "a/1.png", "a/2.png", side_px=500)
    (root / "b").symlink_to(root / "a")
    images = DatasetImages(most=1)
    jpeg = images.thumbnail(str(root), "a/1.png")
    assert Image.open(BytesIO(jpeg)).size == (SIDE_PX, SIDE_PX)
    monkeypatch.setattr(dataset_images, "shrunk", lambda *_: b"again")
    assert images.thumbnail(str(root), "b/1.png") == jpeg
    assert images.thumbnail(str(root), "a/2.png") == b"again"
    assert images.thumbnail(str(root), "a/1.png") == b"again", "only the latest one is kept"
    assert path_inside(root, "b/1.png") == root.resolve() / "a/1.png"


def test_a_large_or_damaged_image_has_no_thumbnail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_pictures(tmp_path / "d", "a/1.png", side_px=100)
    (root / "a/2.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    monkeypatch.setattr(dataset_images, "MAX_PIXELS", 5_000)
    images = DatasetImages()
    for name in ("a/1.png", "a/2.png", "a/2.png"):
        with pytest.raises(ImageError):
            images.thumbnail(str(root), name)
