"""The words of an evaluation's report, for few and for many classes."""

from __future__ import annotations

import numpy as np
import pytest

from breedclf.data.preprocessing import Preprocessing
from breedclf.evaluation.metrics import Evaluation, measure
from breedclf.evaluation.report import Provenance, evaluation_page, verdict
from breedclf.inference.model_directory import ModelCard
from breedclf.testing.pages import read_page


def evaluation(classes: int, count: int, *, sureness: float, skipped: list[str] | None = None) -> Evaluation:
    draw = np.random.default_rng(0)
    targets = draw.integers(0, classes, count)
    scores = draw.standard_normal((count, classes))
    scores[np.arange(count), targets] += sureness
    rows = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    labels = [f"{index:03d}.Breed_<{index}>" for index in range(classes)]
    paths = [f"test/{labels[target]}/{row}.jpg" for row, target in enumerate(targets)]
    return measure(rows, targets, labels, paths, split="test", skipped=skipped or [])


def page_of(result: Evaluation, **card: object) -> str:
    values = {"labels": result.labels, "class_names": result.class_names, "weights_sha256": "0" * 64, **card}
    provenance = Provenance(
        "OUT/model",
        "images",
        ModelCard(architecture="resnet50", preprocessing=Preprocessing(), **values),
        "cpu",
        "fp32",
    )
    return evaluation_page(result, provenance, thumbnails=[b"\xff\xd8"] * len(result.worst))


@pytest.mark.parametrize(("classes", "count"), [(2, 50), (2, 1), (8, 8), (133, 836)])
def test_a_page_is_sound_and_bounded(classes: int, count: int) -> None:
    html = page_of(evaluation(classes, count, sureness=3))
    assert read_page(html).problems == []
    assert len(html) < 400_000


def test_many_classes_have_a_shorter_chart_and_a_folded_table() -> None:
    text = read_page(page_of(evaluation(133, 836, sureness=3))).text
    assert "The first 25 of 133 are shown." in text
    assert "Table of all 133 classes" in text
    assert "Top-5 accuracy" in text
    assert "Top-5 accuracy" not in read_page(page_of(evaluation(2, 50, sureness=3))).text


@pytest.mark.parametrize(
    ("sureness", "tone", "words"),
    [(5, "ok", "clearly better"), (0, "issue", "can't be distinguished from"), (-9, "bad", "worse than")],
)
def test_the_verdict_compares_with_naming_the_most_frequent_class(sureness: float, tone: str, words: str) -> None:
    found, heading, sentences = verdict(evaluation(2, 50, sureness=sureness))
    assert found == tone
    assert "of 50 images classified correctly" in heading
    assert words in " ".join(sentences)


def test_nothing_wrong_is_said() -> None:
    text = read_page(page_of(evaluation(2, 20, sureness=50))).text
    assert text.count("No image was misclassified.") == 2


def test_skipped_images_are_counted_and_the_first_named() -> None:
    reasons = [f"{number}.jpg is damaged" for number in range(60)]
    text = read_page(page_of(evaluation(2, 20, sureness=3, skipped=reasons))).text
    assert "Skipped images: 60" in text
    assert "49.jpg is damaged" in text
    assert "50.jpg is damaged" not in text
    assert "and 10 more" in text


def test_the_models_own_threshold_is_named() -> None:
    result = evaluation(2, 20, sureness=3)
    assert "The model has min_confidence 80%." in read_page(page_of(result, min_confidence=0.8)).text
    assert "The model has none." in read_page(page_of(result)).text
