"""What an evaluation measures besides accuracy, on a tiny model with a feature bank, and how bad input ends."""

from __future__ import annotations

import csv
import json
import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from breedclf import Classifier, ConfigError, DataError, Evaluation, ImageError, evaluate, from_arrays
from breedclf.cli import main
from breedclf.files.model_folder import CARD_FILE
from breedclf.testing.pages import read_page
from tests.serving.conftest import CLASSES, draw, write_model_with_bank, write_tiny_model


def with_card(model: Path, **values: Any) -> Path:
    card = model / CARD_FILE
    card.write_text(json.dumps(json.loads(card.read_text()) | values), encoding="utf-8")
    return model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its bank has the features of `draw(0)` to `draw(11)`, each twice, and knows what is as near as these."""
    folder = write_model_with_bank(tmp_path_factory.mktemp("bank") / "model", threshold=0.001)
    nll = {"temperature": 2.0, "nll_before": 2.5, "nll_after": 2.0, "images": 50, "source": "valid"}
    return with_card(folder, calibration=nll, conformal={"scores": [0.5, 0.8, 0.85, 0.9, 1.0], "images": 5})


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """10 test images, of which 8 are in the bank, and `other`: 6 that aren't, and one that is, at different depths."""
    root = tmp_path_factory.mktemp("images")
    for number in range(10):
        folder = root / "data" / "test" / f"00{1 + number % 2}.{CLASSES[number % 2]}"
        folder.mkdir(parents=True, exist_ok=True)
        draw(number if number < 8 else 100 + number).save(folder / f"{number}.png")
    for number in range(7):
        folder = root / "other" / "a" / "b" / "c" if number % 2 else root / "other"
        folder.mkdir(parents=True, exist_ok=True)
        draw(200 + number if number < 6 else 11).save(folder / f"{number}.png")
    return root


def measured(model: Path, images: Path, tmp_path: Path, **settings: Any) -> Evaluation:
    defaults = {"unlike": images / "other", "output": tmp_path / "out", "precision": "fp32", "feature_cache": False}
    return evaluate(model, images / "data", **{**defaults, **settings})


@pytest.mark.parametrize("tta", [False, True], ids=["plain", "tta"])
def test_the_metrics_are_those_of_predictions(model: Path, images: Path, tmp_path: Path, tta: bool) -> None:
    result = measured(model, images, tmp_path, tta=tta, coverage=0.6)
    classifier = Classifier(model, precision="fp32", tta=tta)
    own = classifier.predict(paths := sorted((images / "data").rglob("*.png")), coverage=0.6)
    others = classifier.predict(sorted((images / "other").rglob("*.png")))
    assert result.known_share == sum(each.known for each in own) / 10 == 0.8
    assert result.unlike is not None
    assert result.unlike.count == 7
    assert result.unlike.let_through == sum(each.known for each in others) / 7 == 1 / 7
    ordered = [(other.distance or 0) > (each.distance or 0) for other in others for each in own]
    rounding = 8 / 70  # one unlike image and eight others are in the bank, at distances of almost 0
    assert result.unlike.auroc == pytest.approx(np.mean(ordered), abs=rounding)
    assert result.unlike.auroc > 0.5
    assert [Path(each.path).name for each in result.unlike.nearest] == ["6.png"]
    assert result.coverage is not None
    sets = [each.prediction_set or () for each in own]
    assert result.coverage.mean_size == pytest.approx(sum(map(len, sets)) / 10)
    inside = [path.parent.name in {each.label for each in some} for path, some in zip(paths, sets, strict=True)]
    assert result.coverage.measured == sum(inside) / 10


def test_the_loss_before_calibration_is_that_of_the_scores_times_the_temperature(
    model: Path, images: Path, tmp_path: Path
) -> None:
    result = measured(model, images, tmp_path, unlike=None)
    assert result.calibration is not None
    classifier = Classifier(model, precision="fp32")
    paths = sorted((images / "data").rglob("*.png"))
    truth = [classifier.card.labels.index(path.parent.name) for path in paths]
    scores = classifier.torch_module()(classifier.inputs(paths)).detach().double().numpy() * 2
    logs = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    assert result.calibration.nll_before == pytest.approx(-logs[np.arange(10), truth].mean(), rel=1e-4)
    assert result.calibration.nll_after == result.loss != result.calibration.nll_before
    assert (result.calibration.ece, result.calibration.bins) == (None, ())


def test_the_files_and_the_command_have_the_promised_names(
    model: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["evaluate", str(model), str(images / "data"), "--unlike", str(images / "other"), "--coverage", "0.6"]
    command += ["--output", str(tmp_path / "out"), "--no-feature-cache", "--no-explain"]
    assert main([*command, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert set(document["unlike"]) >= {"count", "auroc", "let_through", "curve"}
    assert document["known_share"] == 0.8
    assert set(document["calibration"]) >= {"nll_before", "nll_after", "ece", "bins"}
    assert document["features"] == {"computed": 17, "reused": 0}
    written = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert written == {key: document[key] for key in written}
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert '80% of the images are known, the others are answered "none of these"' in printed
    assert "14.3% of 7 unlike images are let through" in printed
    assert "prediction sets for 60% contain the right class in" in printed
    page = read_page((tmp_path / "out" / "report.html").read_text(encoding="utf-8"))
    assert page.problems == []
    for words in ("2 of 10 test images are refused by their distance", "Let through 14.3%", "Kept against let through",
                  "can't be separated by this", "need 200 images", "Sizes of prediction sets"):  # fmt: skip
        assert words in page.text
    assert page.tags["img"] == len(document["worst"]) + 2 + 1


def test_min_confidence_and_distance_are_counted_separately(model: Path, images: Path, tmp_path: Path) -> None:
    strict = with_card(Path(shutil.copytree(model, tmp_path / "strict")), min_confidence=0.9)
    result = measured(strict, images, tmp_path)
    assert result.refused is not None
    assert (result.refused.by_distance, result.refused.by_confidence, result.refused.by_both) == (2, 10, 2)
    assert result.known_share == 0
    assert result.unlike is not None
    assert result.unlike.let_through == 0
    text = read_page((tmp_path / "out" / "report.html").read_text(encoding="utf-8")).text
    assert "2 by their distance and 10 by a best probability below min_confidence (90%), of which 2 by both" in text


def test_unlike_images_come_from_a_table_or_a_program(model: Path, images: Path, tmp_path: Path) -> None:
    folder = measured(model, images, tmp_path)
    with (images / "other.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "label"])
        rows.writerows([str(path.relative_to(images)), "cat"] for path in sorted((images / "other").rglob("*.png")))
    table = measured(model, images, tmp_path, unlike=images / "other.csv")
    arrays = [np.asarray(Image.open(path)) for path in sorted((images / "other").rglob("*.png"))]
    given = measured(model, images, tmp_path, unlike=from_arrays(arrays, ["cat"] * len(arrays)))
    for other in (table, given):
        assert other.unlike is not None
        assert other.unlike.model_dump(exclude={"nearest"}) == folder.unlike.model_dump(exclude={"nearest"})


def test_a_model_without_a_bank_is_evaluated_as_before_and_refuses_unlike_images(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = write_tiny_model(tmp_path / "plain")
    result = measured(plain, images, tmp_path, unlike=None)
    assert (result.known_share, result.refused, result.unlike, result.coverage) == (None, None, None, None)
    text = read_page((tmp_path / "out" / "report.html").read_text(encoding="utf-8")).text
    assert "This model has no feature bank" in text
    assert "This model isn't calibrated" in text
    assert main(["evaluate", str(plain), str(images / "data"), "--unlike", str(images / "other")]) == 2
    error = capsys.readouterr().err
    assert f"unlike: {plain} has no feature bank" in error
    assert "Train it again with this version" in error
    with pytest.raises(ConfigError, match=r"no quantiles for prediction sets.*train it again"):
        measured(plain, images, tmp_path, unlike=None, coverage=0.9)


def test_unlike_folders_that_cannot_be_used(model: Path, images: Path, tmp_path: Path) -> None:
    (tmp_path / "empty" / "inside").mkdir(parents=True)
    (tmp_path / "empty" / "notes.doc").write_text("no image")
    cases: list[tuple[Any, str]] = [
        (tmp_path / "empty", "unlike=.*empty contains no images; names must end with"),
        (tmp_path / "missing", "unlike=.*missing does not exist"),
        (images / "other" / "0.png", "unlike=.*0.png is not a folder or a table"),
        ({"test": images}, "unlike is a mapping of splits"),
    ]
    for unlike, message in cases:
        with pytest.raises(DataError, match=message):
            measured(model, images, tmp_path, unlike=unlike)


def test_unlike_images_that_are_test_images_are_reported(
    model: Path, images: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    both = tmp_path / "both"
    shutil.copytree(images / "other", both)
    shutil.copy(images / "data" / "test" / f"001.{CLASSES[0]}" / "0.png", both / "renamed.png")
    with caplog.at_level(logging.WARNING, "breedclf"):
        result = measured(model, images, tmp_path, unlike=both)
    assert "1 of the 8 images of" in caplog.text
    assert "are also among the images of the split" in caplog.text
    assert result.unlike is not None
    assert result.unlike.shared == 1
    text = read_page((tmp_path / "out" / "report.html").read_text(encoding="utf-8")).text
    assert "1 of the unlike images are among the test images, too" in text


def test_unreadable_unlike_images_stop_or_are_left_out(model: Path, images: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(images / "other", tmp_path / "other"))
    (other / "broken.png").write_bytes(b"no image")
    with pytest.raises(ImageError, match=r"broken\.png can't be decoded.*--on-bad-image skip"):
        measured(model, images, tmp_path, unlike=other)
    result = measured(model, images, tmp_path, unlike=other, on_bad_image="skip")
    assert result.unlike is not None
    assert result.unlike.count == 7
    assert "broken.png" in result.unlike.skipped[0]
    for path in other.rglob("*.png"):
        path.write_bytes(b"no image")
    with pytest.raises(DataError, match="none of the 8 images can be read"):
        measured(model, images, tmp_path, unlike=other, on_bad_image="skip")


@pytest.mark.parametrize(
    ("coverage", "message"),
    [
        ("0", "coverage=0: choose a share between 0 and 1, such as 0.9"),
        ("1", "coverage=1: choose a share between 0 and 1, such as 0.9"),
        ("1.5", "coverage=1.5: choose a share"),
        ("90", "coverage=90: choose a share between 0 and 1, such as 0.9; did you mean 0.9?"),
        ("nan", "coverage=nan: choose a share"),
        ("many", "coverage='many'"),
        ("0.99", "coverage=0.99 needs at least 99 validation images"),
    ],
)
def test_coverages_that_cannot_be_used(
    model: Path, images: Path, coverage: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = [str(path) for path in (images / "other").glob("*.png")]
    for command in (["evaluate", str(model), str(images / "data")], ["predict", str(model), *photos]):
        assert main([*command, "--coverage", coverage]) == 2
        printed = capsys.readouterr()
        assert message in printed.err
        assert printed.out == ""


def test_the_command_prints_prediction_sets(model: Path, images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos = [str(path) for path in sorted((images / "data").rglob("*.png"))] * 4
    for some in (photos[:2], photos):  # one by one, and by stored features
        command = ["predict", str(model), *some, "--coverage", "0.6", "--no-feature-cache"]
        assert main([*command, "--json"]) == 0
        answers = json.loads(capsys.readouterr().out)
        expected = Classifier(model).predict(some, coverage=0.6)
        assert [[each["label"] for each in answer["prediction_set"]] for answer in answers] == [
            [each.label for each in prediction.prediction_set or ()] for prediction in expected
        ]
        assert main(command) == 0
        assert capsys.readouterr().out.count("\n  set: ") == len(some)
    assert main(["predict", "--endpoint", "dogs", "dog.jpg", "--coverage", "0.9"]) == 2
    assert "--coverage has no effect on an endpoint" in capsys.readouterr().err
