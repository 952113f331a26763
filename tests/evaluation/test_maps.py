"""Maps in the evaluation report, and the hint about evidence on the border."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from breedclf import evaluate
from breedclf.evaluation.maps import BorderEvidence
from breedclf.explanations.border import UNIFORM_BORDER_SHARE
from breedclf.testing.images import write_image_set
from tests.explanations.conftest import LABELS, ClassifierOf, classifier_of  # noqa: F401 - a fixture


def _data(folder: Path) -> Path:
    """Four classes of one image, of a model that tells nothing apart."""
    written = write_image_set(folder / "set", classes=4, train=1, valid=1, test=1)
    for path, label in zip(sorted((written / "test").iterdir()), LABELS, strict=True):
        path.rename(path.with_name(label))
    return written


def test_each_of_the_worst_images_has_both_maps(classifier_of: ClassifierOf, tmp_path: Path) -> None:  # noqa: F811
    model, data = classifier_of("timm:test_resnet", crop_px=64).artifact, _data(tmp_path)
    settings: dict[str, Any] = {"feature_cache": False, "device": "cpu", "workers": 0}
    result = evaluate(model, data, output=tmp_path / "with", **settings)
    plain = evaluate(model, data, output=tmp_path / "without", explain=False, **settings)
    assert result.worst and result.worst == plain.worst
    page, without = Path(str(result.report)).read_text(), Path(str(plain.report)).read_text()
    wrong = result.worst[0]
    names = dict(zip(result.labels, result.class_names, strict=True))
    assert f"Why {names[wrong.predicted]} and not {names[wrong.true]}" in page
    assert page.count("data:image/jpeg") - without.count("data:image/jpeg") == 2 * len(result.worst)
    assert "of the evidence for the answer is on the border" in page
    assert "Why " not in without.partition('id="worst-images"')[2].partition("</section>")[0]
    assert len(page) - len(without) < 60_000


def test_a_hint_says_when_much_of_the_evidence_is_on_the_border() -> None:
    much, little = UNIFORM_BORDER_SHARE + 0.1, UNIFORM_BORDER_SHARE - 0.1
    assert BorderEvidence((much,) * 6 + (little,) * 6).is_suspicious
    assert not BorderEvidence((much,) * 5 + (little,) * 7).is_suspicious
    assert not BorderEvidence((much,) * 9).is_suspicious, "too few images"
    evidence = BorderEvidence((much,) * 12)
    assert evidence.above_uniform == 12
    assert evidence.mean == pytest.approx(much)
