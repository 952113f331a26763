"""The words of an evaluation's report, for few and for many classes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from breedclf.data.preprocessing import Preprocessing
from breedclf.evaluation.metrics import Evaluation, measure
from breedclf.evaluation.reliability import calibration_result, coverage_result
from breedclf.evaluation.report import Provenance, evaluation_page, verdict
from breedclf.evaluation.unknown import refused, unlike
from breedclf.inference.calibration import Calibration
from breedclf.inference.feature_bank import BankRecord
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


def page_of(result: Evaluation, fields: Mapping[str, object] | None = None, **card: object) -> str:
    card |= fields or {}
    values = {"labels": result.labels, "class_names": result.class_names, "weights_sha256": "0" * 64, **card}
    provenance = Provenance(
        "OUT/model",
        "images",
        ModelCard(architecture="resnet50", preprocessing=Preprocessing(), **values),
        "cpu",
        "fp32",
    )
    return evaluation_page(
        result,
        provenance,
        thumbnails=[b"\xff\xd8"] * len(result.worst),
        refused=[b"\xff\xd8"] * (len(result.refused.farthest) if result.refused else 0),
        let_through=[b"\xff\xd8"] * (len(result.unlike.nearest) if result.unlike else 0),
    )


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


def complete(count: int, *, nll_before: float = 0.9, asked: float = 0.9) -> tuple[Evaluation, dict[str, object]]:
    """An evaluation of 20 classes with everything that can be measured, and the fields of its model's card."""
    draw, labels = np.random.default_rng(0), [f"{number:03d}.Breed" for number in range(20)]
    rows, targets = draw.dirichlet([0.2] * 20, count), draw.integers(0, 20, count)
    near, far = (draw.random(count).astype(np.float32) + shift for shift in (0.0, 0.5))
    names = [f"{number}.jpg" for number in range(count)]
    result = measure(rows, targets, labels, names, split="test")
    parts = {
        "known_share": float((near <= 0.9).mean()),
        "refused": refused(near, rows, 0.9, None, labels, names),
        "unlike": unlike(near, far, rows, 0.9, None, labels, names, shared=2, skipped=["bad.jpg"]),
        "calibration": calibration_result(rows, targets, 1.5, nll_before, result.loss),
        "coverage": coverage_result(rows, targets, asked, 0.9),
    }
    bank = BankRecord(
        sha256="0" * 64, images=1000, neighbor=5, threshold=0.9, kept_share=0.95, limited_on="valid",
        limited_on_images=200,
    )  # fmt: skip
    fitted = Calibration(temperature=1.5, nll_before=0.9, nll_after=0.8, images=200, source="valid")
    return result.model_copy(update=parts), {"feature_bank": bank, "calibration": fitted}


def test_a_page_of_many_images_shows_everything_and_stays_small() -> None:
    html = page_of(*complete(10_000))
    page = read_page(html)
    assert page.problems == []
    assert len(html) < 1_000_000
    for words in (
        "Reliability diagram",
        "one image more or less moves the accuracy by 0.01 percentage points",
        "Kept against let through",
        "2 of the unlike images are among the test images",
        "are left out: 1; the first: bad.jpg",
        "went from 0.9 to 0.8",
        "It is never worse there",
    ):
        assert words in page.text
    assert page.tags["img"] == 3 * 12


def test_what_got_worse_or_fell_short_is_said() -> None:
    text = read_page(page_of(*complete(300, nll_before=0.1, asked=0.99))).text
    assert "higher than before on these images" in text
    assert "The sets contain the right class less often than asked for." in text
    better = read_page(page_of(*complete(300, nll_before=100, asked=0.01))).text
    assert "higher than before" not in better
    assert "less often than asked for" not in better


@pytest.mark.parametrize(("count", "shown"), [(199, False), (200, True)])
def test_the_reliability_diagram_needs_200_images(count: int, shown: bool) -> None:
    text = read_page(page_of(*complete(count))).text
    assert ("Reliability diagram" in text) == shown
    assert (f"need 200 images, since each of their bins needs some; there are {count}" in text) != shown
