"""What the page gathers: small copies of images, files of steps, and what happens without them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from breedclf.config import TrainingConfig
from breedclf.journey.figures import MOST_EXAMPLES, epochs_of, example_images
from breedclf.journey.page.write import gathered, write_page
from breedclf.journey.settings import JourneySettings
from breedclf.journey.step import JourneyContext
from breedclf.testing.images import write_image_set
from breedclf.tuning.study import StudyFolder
from tests.journey.page_examples import evaluation, finished, study, values_of_steps


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_image_set(tmp_path / "data", classes=2, train=3, valid=1, test=1, size_px=32)


@pytest.fixture
def context(tmp_path: Path, data: Path) -> JourneyContext:
    """A finished journey, with the files that its page reads."""
    training = TrainingConfig(data=data)
    settings = JourneySettings(training=training, output=tmp_path / "out", store=tmp_path / "models", name="insects")
    values = values_of_steps(path=str(next((data / "test").rglob("*.jpg"))))
    values["check"]["examples"] = example_images(training)
    values["review"]["first"][0]["path"] = str(next((data / "train").rglob("*.jpg")))
    folder = settings.output
    (folder / "evaluation").mkdir(parents=True)
    (folder / "evaluation" / "metrics.json").write_text(evaluation().model_dump_json(exclude={"report", "features"}))
    (folder / "explanations").mkdir()
    shutil.copy(next((data / "test").rglob("*.jpg")), folder / "explanations" / "1.jpg")
    (folder / "tuning" / "journey-1").mkdir(parents=True)
    StudyFolder(folder / "tuning" / "journey-1").save(study())
    return JourneyContext(settings, None, finished(values))


def test_the_page_shows_what_the_steps_left(context: JourneyContext) -> None:
    found = gathered(context)
    assert found.study == study()
    assert found.evaluation == evaluation()
    assert found.model is None, "nothing is in the store"
    assert len(found.jpegs) == 6 + 1 + 1, "training images, an image of the endpoint, and its map"
    assert all(jpeg.startswith(b"\xff\xd8") and len(jpeg) < 20_000 for jpeg in found.jpegs.values())


def test_small_copies_are_made_once_and_again_for_a_changed_image(context: JourneyContext, data: Path) -> None:
    first = gathered(context).jpegs
    copies = sorted((context.folder / ".thumbnails").iterdir())
    marked = b"\xff\xd8 read from the folder"
    for copy in copies:
        copy.write_bytes(marked)
    image = next((data / "test").rglob("*.jpg"))
    shutil.copy(next((data / "train").rglob("*.jpg")), image)
    again = gathered(context).jpegs
    assert again.keys() == first.keys()
    assert {path for path, jpeg in again.items() if jpeg != marked} == {str(image), "explanations/1.jpg"}


def test_equal_journeys_give_equal_pages_that_can_be_moved(context: JourneyContext, tmp_path: Path) -> None:
    page = context.folder / "journey.html"
    write_page(page, context)
    first = page.read_bytes()
    write_page(page, context)
    assert page.read_bytes() == first
    moved = context.folder.rename(tmp_path / "moved")
    assert str(context.folder) not in (moved / "journey.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("tuning", "The files of the search are gone"),
        ("evaluation", "evaluation/metrics.json is gone or damaged"),
        ("explanations", "a test image of ants"),
        (".thumbnails", "a training image of Stripes"),
    ],
)
def test_the_page_is_written_without_a_deleted_folder(context: JourneyContext, name: str, words: str) -> None:
    page = context.folder / "journey.html"
    write_page(page, context)
    shutil.rmtree(context.folder / name)
    write_page(page, context)
    assert words in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"accuracy": "high"}', "\x00"])
def test_damaged_files_are_left_out(context: JourneyContext, content: str) -> None:
    (context.folder / "evaluation" / "metrics.json").write_text(content)
    (context.folder / "tuning" / "journey-1" / "study.json").write_text(content)
    (context.settings.store / "models").mkdir(parents=True)
    (context.settings.store / "models" / "insects.json").write_text(content)
    found = gathered(context)
    assert (found.study, found.evaluation, found.model) == (None, None, None)


def test_a_broken_or_deleted_image_is_left_out(context: JourneyContext, data: Path) -> None:
    image = next((data / "test").rglob("*.jpg"))
    image.write_bytes(b"not an image")
    assert str(image) not in gathered(context).jpegs
    shutil.rmtree(data)
    assert set(gathered(context).jpegs) == {"explanations/1.jpg"}
    write_page(context.folder / "journey.html", context)


def test_images_of_a_relative_dataset_are_found(
    context: JourneyContext, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(data.parent)
    training = TrainingConfig(data=Path(data.name))
    values = values_of_steps(path=next(Path(data.name, "test").rglob("*.jpg")).as_posix())
    values["check"]["examples"] = example_images(training)
    relative = JourneyContext(context.settings.replace(training=training), None, finished(values))
    assert len(gathered(relative).jpegs) == 6 + 1 + 1


def test_an_evaluation_of_an_earlier_run_is_not_shown(context: JourneyContext) -> None:
    context.record = finished(last="profile")
    assert gathered(context).evaluation is None


@pytest.mark.parametrize(("classes", "train"), [(2, 8), (5, 4), (8, 1)])
def test_examples_are_spread_over_the_classes(tmp_path: Path, classes: int, train: int) -> None:
    data = write_image_set(tmp_path / "data", classes=classes, train=train, valid=1, test=0, size_px=16)
    found = example_images(TrainingConfig(data=data))
    counts = [sum(each["class_name"] == name for each in found) for name in {each["class_name"] for each in found}]
    assert len(counts) == classes
    assert set(counts) == {min(train, MOST_EXAMPLES // classes)}
    assert len({each["path"] for each in found}) == len(found)


def test_epochs_of_a_folder_without_a_run_are_none(tmp_path: Path) -> None:
    assert epochs_of(tmp_path / "gone") == []
