"""Measuring a trained model: the figures, the two files, and how bad input ends."""

from __future__ import annotations

import json
import re
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from breedclf import Classifier, Trainer, TrainingConfig, evaluate
from breedclf.cli import main
from breedclf.errors import DataError, ImageError
from breedclf.evaluation.metrics import Evaluation
from breedclf.evaluation.result import wilson_interval
from breedclf.testing.pages import read_page
from breedclf.training.fit import FitResult
from tests.integration.conftest import QUICK, write_patterns

Trained = tuple[FitResult, Path]


@pytest.fixture
def images(trained: Trained, tmp_path: Path) -> Path:
    """A copy of the images that a test may spoil."""
    return Path(shutil.copytree(trained[1], tmp_path / "copy"))


@pytest.fixture(scope="module")
def evaluated(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> tuple[Evaluation, Path]:
    output = tmp_path_factory.mktemp("evaluation")
    result = evaluate(
        trained[0].artifact, trained[1], output=output, clock=lambda: datetime(2026, 11, 22, 8, 30, tzinfo=UTC)
    )
    return result, output


def test_figures_are_those_of_the_classifier_itself(evaluated: tuple[Evaluation, Path], trained: Trained) -> None:
    result, _ = evaluated
    classifier = Classifier(trained[0].artifact)
    paths = sorted(trained[1].glob("test/*/*.png"))
    right = sum(
        prediction.best.label == path.parent.name
        for path, prediction in zip(paths, classifier.predict(paths), strict=True)
    )
    assert result.count == len(paths) == 8
    assert result.accuracy == right / 8
    assert result.accuracy_interval == wilson_interval(right, 8)
    assert result.labels == ("001.Lying", "002.Standing")
    assert [one.support for one in result.per_class] == [4, 4]


def test_metrics_file_holds_the_same(evaluated: tuple[Evaluation, Path]) -> None:
    result, output = evaluated
    document = json.loads((output / "metrics.json").read_text())
    assert Evaluation.model_validate(document) == result.model_copy(update={"report": None, "features": None})


def test_report_is_self_contained_and_small(evaluated: tuple[Evaluation, Path]) -> None:
    result, output = evaluated
    assert result.report == str(output / "report.html")
    html = (output / "report.html").read_text(encoding="utf-8")
    page = read_page(html)
    assert page.problems == []
    assert len(html) < 300_000
    assert "https://" not in html
    assert "http://" not in html
    for words in (
        "of 8 images classified correctly",
        "Lying",
        "Confusion matrix",
        "95% interval",
        "2026-11-22 08:30 UTC",
    ):
        assert words in page.text
    assert page.tags["svg"] >= 4
    assert page.tags.get("img", 0) == len(result.worst)


def test_worst_images_are_shown_small(images: Path, trained: Trained, tmp_path: Path) -> None:
    lying, standing = images / "test" / "001.Lying", images / "test" / "002.Standing"
    for path in sorted(lying.iterdir()):  # exchange the classes, so that what was right is wrong
        path.rename(standing / f"moved-{path.name}")
    for path in sorted(standing.glob("[0-9]*")):
        path.rename(lying / path.name)
    result = evaluate(trained[0].artifact, images, output=tmp_path / "out", explain=False)
    assert result.worst
    assert result.worst[0].path.startswith("test/")
    assert result.worst == tuple(sorted(result.worst, key=lambda wrong: wrong.true_probability))
    html = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert html.count("data:image/jpeg;base64,/9j/") == len(result.worst)
    assert read_page(html).problems == []


def test_command_prints_the_promised_json(trained: Trained, capsys: pytest.CaptureFixture[str]) -> None:
    result, data = trained
    assert main(["evaluate", str(result.artifact), str(data), "--split", "test", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert 0 <= document["accuracy"] <= 1
    assert len(document["accuracy_interval"]) == 2
    assert document["count"] == 8
    assert {"top5_accuracy", "loss", "per_class"} <= set(document)
    assert document["report"] == str(result.output / "evaluation-test" / "report.html")
    assert Path(document["report"]).is_file()


def test_command_tells_people_the_outcome_and_where_the_report_lies(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result, data = trained
    output = str(tmp_path / "out")
    assert main(["evaluate", str(result.artifact), str(data), "--split", "val", "--output", output]) == 0
    text = capsys.readouterr().out
    assert "of 8 images classified correctly" in text
    assert "95% confidence" in text
    assert f"report: {output}/report.html" in text


def test_other_splits_and_all(trained: Trained, tmp_path: Path) -> None:
    result, data = trained
    train, every = (
        evaluate(result.artifact, data, split=name, output=tmp_path / name, explain=False) for name in ("train", "all")
    )
    assert (train.count, every.count) == (16, 32)


def test_order_and_number_of_class_folders_do_not_matter(trained: Trained, images: Path, tmp_path: Path) -> None:
    result, data = trained
    shutil.rmtree(images / "test" / "001.Lying")
    shutil.rmtree(images / "train")
    alone = evaluate(result.artifact, images, output=tmp_path / "alone", explain=False)
    both = evaluate(result.artifact, data, output=tmp_path / "both", explain=False)
    assert alone.per_class[1].recall == both.per_class[1].recall
    assert (alone.count, alone.per_class[0].support, alone.per_class[0].recall) == (4, 0, None)
    assert "1 class of the model has no images here: Lying." in read_page(Path(alone.report or "").read_text()).text


def test_a_folder_without_splits_is_divided_as_the_training_divided_it(tmp_path: Path) -> None:
    flat = write_patterns(tmp_path / "flat", counts={"train": 10}) / "train"
    config = TrainingConfig(data=flat, output=tmp_path / "out", epochs=1, test_share=0.4, split_seed=3, **QUICK)
    artifact = Trainer(config).fit().artifact
    test, valid, train = (evaluate(artifact, flat, split=name, explain=False) for name in ("test", "valid", "train"))
    assert (test.count, valid.count, train.count) == (8, 4, 8)
    assert evaluate(artifact, flat, split="all", explain=False).count == 20


def _end(*words: object) -> int:
    return main(["evaluate", *map(str, words)])


def test_a_class_that_the_model_does_not_know_is_named(
    trained: Trained, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (images / "test" / "001.Lying").rename(images / "test" / "001.Laying")
    assert _end(trained[0].artifact, images) == 3
    error = capsys.readouterr().err
    assert "'001.Laying'" in error
    assert "its classes are '001.Lying', '002.Standing'" in error
    assert "Traceback" not in error


def test_a_missing_split_names_those_there_are(
    trained: Trained, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(images / "test")
    assert _end(trained[0].artifact, images) == 3
    assert "no images for the split 'test'; splits with images: train, valid" in capsys.readouterr().err


def test_a_split_without_images_counts_as_missing(
    trained: Trained, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in images.glob("test/*/*"):
        path.unlink()
    assert _end(trained[0].artifact, images) == 3
    assert "splits with images: train, valid" in capsys.readouterr().err


def test_what_is_not_there_or_wrong_is_told(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    artifact, data = trained[0].artifact, trained[1]
    assert _end(tmp_path / "nothing", data) == 3
    assert "is not a breedclf model" in capsys.readouterr().err
    assert _end(artifact, tmp_path / "nothing") == 3
    assert "does not exist" in capsys.readouterr().err
    assert _end(artifact, data, "--split", "tset") == 2
    assert "split='tset'" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert _end(artifact, data, "--output", tmp_path / "file") == 2
    assert "choose another --output" in capsys.readouterr().err


def test_an_unreadable_image_stops_or_is_skipped_and_named(
    trained: Trained, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = images / "test" / "001.Lying" / "0.png"
    bad.write_bytes(b"no image")
    with pytest.raises(ImageError, match=r"0\.png can't be decoded.*--on-bad-image skip"):
        evaluate(trained[0].artifact, images, output=tmp_path / "out")

    assert _end(trained[0].artifact, images, "--on-bad-image", "skip", "--output", tmp_path / "out", "--json") == 0
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert document["count"] == 7
    assert str(bad) in document["skipped"][0]
    assert re.search(r"1 unreadable \w+ was skipped", captured.err)
    assert str(bad) in read_page((tmp_path / "out" / "report.html").read_text()).text

    for path in images.glob("test/*/*"):
        path.write_bytes(b"no image")
    with pytest.raises(DataError, match=r"none of the 8 \w+ can be read"):
        evaluate(trained[0].artifact, images, output=tmp_path / "out", on_bad_image="skip")


def test_real_photos(shared_data: Path, tmp_path: Path) -> None:
    """A quick network on real photos of eight breeds; far above the chance of one in eight."""
    config = TrainingConfig(
        data=shared_data / "dog-breeds-tiny", weights=shared_data / "weights" / "resnet18-imagenet1k.pth",
        architecture="resnet18", output=tmp_path / "out",
    )  # fmt: skip
    result = evaluate(Trainer(config).fit().artifact, config.data)
    assert result.count == 8
    assert result.accuracy >= 0.5
    html = Path(result.report or "").read_text(encoding="utf-8")
    assert read_page(html).problems == []
    assert len(html) < 1_000_000
