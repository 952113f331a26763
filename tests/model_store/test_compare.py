"""Two models on the same images: the figures, the report, the command, and what can't be compared."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from breedclf import ModelStore
from breedclf.cli import main
from breedclf.errors import ArtifactError, DataError, ImageError
from breedclf.features.extraction import FeatureExtractor
from breedclf.model_store.compare import compare_models, short_names
from breedclf.model_store.comparison import ModelComparison, compared
from tests.model_store.networks import CHECKERS, STRIPES, write_images, write_network

LABELS = ("ant", "bee", "wasp")
FAST: dict[str, Any] = {"workers": 0, "device": "cpu", "precision": "fp32"}


def _compared(targets: list[int], first: list[int], second: list[int]) -> ModelComparison:
    rows = np.array([targets, first, second])
    return compared(("old", "new"), LABELS, rows[0], rows[1], rows[2], lambda at: f"{at}.jpg")


def test_the_figures_of_a_comparison() -> None:
    found = _compared([0, 0, 0, 1, 1, 2], [0, 0, 1, 0, 1, 1], [0, 1, 0, 1, 1, 0])
    assert (found.both, found.only_a, found.only_b, found.neither) == (2, 1, 2, 1)
    assert found.difference == pytest.approx(1 / 6)
    assert (found.accuracy_a, found.accuracy_b) == (3 / 6, 4 / 6)
    assert [(each.label, each.count, each.only_first, each.only_second) for each in found.classes] == [
        ("bee", 2, 0, 1),
        ("ant", 3, 1, 1),
        ("wasp", 1, 0, 0),
    ]
    assert [(each.image, each.label, each.first, each.second, each.mended) for each in found.flipped] == [
        ("1.jpg", "ant", "ant", "bee", False),
        ("2.jpg", "ant", "bee", "ant", True),
        ("3.jpg", "bee", "ant", "bee", True),
    ]


@pytest.mark.parametrize(
    ("mended", "broken", "verdict"),
    [
        (12, 3, "new is better on 40 images: 12 mended, 3 broken, p = 0.035"),
        (3, 12, "old is better on 40 images: 3 mended, 12 broken, p = 0.035"),
        (6, 3, "old and new can't be distinguished on 40 images: 6 mended, 3 broken, p = 0.508"),
        (30, 0, "new is better on 40 images: 30 mended, 0 broken, p < 0.001"),
    ],
)
def test_the_verdict(mended: int, broken: int, verdict: str) -> None:
    first = [1] * mended + [0] * (40 - mended)
    second = [0] * mended + [1] * broken + [0] * (40 - mended - broken)
    found = _compared([0] * 40, first, second)
    assert found.verdict == verdict
    low, high = found.difference_interval
    assert found.better is None or low > 0 or high < 0


def test_paths_are_shown_by_what_they_do_not_share() -> None:
    assert short_names(Path("/x/runs/a/model"), Path("/x/runs/b/model")) == ("a", "b")
    assert short_names(Path("a"), Path("a/model")) == ("a", "a/model")
    assert short_names(Path("a/model"), Path("a/model")) == ("a/model", "a/model")


def test_classes_may_be_in_another_order(tmp_path: Path) -> None:
    data = write_images(tmp_path / "set")
    first = write_network(tmp_path / "a/model", STRIPES)
    second = write_network(tmp_path / "b/model", STRIPES, labels=(CHECKERS, STRIPES))
    found = compare_models(first, second, data, **FAST)
    assert (found.both, found.only_a, found.only_b, found.neither) == (3, 0, 0, 3)
    assert found.p_value == 1


def test_one_backbone_sees_each_image_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    passed: list[int] = []
    extract = FeatureExtractor.extract

    def counted(self: FeatureExtractor, images: Any, *args: Any, **keywords: Any) -> Any:
        passed.append(len(images))
        return extract(self, images, *args, **keywords)

    monkeypatch.setattr(FeatureExtractor, "extract", counted)
    data = write_images(tmp_path / "set")
    first, second = write_network(tmp_path / "a/model", STRIPES), write_network(tmp_path / "b/model", CHECKERS)
    other = write_network(tmp_path / "c/model", CHECKERS, seed=1)
    same = compare_models(first, second, data, feature_cache=False, **FAST)
    assert passed == [6]
    apart = compare_models(first, other, data, feature_cache=False, **FAST)
    assert passed == [6, 6, 6]
    assert (same.only_a, same.only_b) == (apart.only_a, apart.only_b) == (3, 3)


def test_the_report_shows_mended_and_broken_images_with_both_maps(tmp_path: Path) -> None:
    data = write_images(tmp_path / "set", test=2)
    first, second = write_network(tmp_path / "a/model", STRIPES), write_network(tmp_path / "b/model", CHECKERS)
    found = compare_models(first, second, data, **FAST)
    found.report(tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert page.count("data:image/jpeg") == 4 * 3
    assert "a and b can&#39;t be distinguished on 4 images: 2 mended, 2 broken" in page
    assert re.findall(r"<h2[^>]*>([^<]*)", page)[:4] == ["Both models", "Mended", "Broken", "By class"]
    found.report(tmp_path / "plain.html", explain=False)
    assert (tmp_path / "plain.html").read_text().count("data:image/jpeg") == 4
    assert "2 mended" in str(found._repr_html_())


def test_unreadable_images_are_left_out_for_both(tmp_path: Path) -> None:
    data = write_images(tmp_path / "set")
    next((data / "test" / STRIPES).iterdir()).write_bytes(b"no image")
    models = write_network(tmp_path / "a/model", STRIPES), write_network(tmp_path / "b/model", CHECKERS, seed=1)
    with pytest.raises(ImageError, match="skip unreadable images with --on-bad-image skip"):
        compare_models(*models, data, **FAST)
    found = compare_models(*models, data, on_bad_image="skip", **FAST)
    assert (found.count, found.only_a, found.only_b, len(found.skipped)) == (5, 2, 3, 1)


def test_what_cannot_be_compared(tmp_path: Path) -> None:
    data, first = write_images(tmp_path / "set"), write_network(tmp_path / "a/model", STRIPES)
    other = write_network(tmp_path / "b/model", "cat", labels=(STRIPES, "cat"))
    with pytest.raises(DataError) as error:
        compare_models(first, other, data, **FAST)
    assert str(error.value) == (
        f"a and b have different classes: only a has '{CHECKERS}'; only b has 'cat'. Compare models of the same classes"
    )
    (data / "test" / CHECKERS).rename(data / "test" / "birds")
    second = write_network(tmp_path / "c/model", CHECKERS)
    with pytest.raises(DataError, match="have classes that the model doesn't have: 'birds'"):
        compare_models(first, second, data, **FAST)
    with pytest.raises(ArtifactError, match="nothing"):
        compare_models(first, tmp_path / "nothing", data, **FAST)


def test_a_network_that_is_not_installed_is_named(tmp_path: Path) -> None:
    data, first = write_images(tmp_path / "set"), write_network(tmp_path / "a/model", STRIPES)
    second = write_network(tmp_path / "b/model", STRIPES)
    card = second / "breedclf.json"
    card.write_text(card.read_text().replace('"resnet18"', '"timm:no_such_network"'))
    with pytest.raises(ArtifactError, match="no_such_network"):
        compare_models(first, second, data, **FAST)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, store = write_images(tmp_path / "set"), ModelStore(tmp_path / "store")
    first, second = write_network(tmp_path / "a/model", STRIPES), write_network(tmp_path / "b/model", CHECKERS)
    for model in (first, second):
        store.add(model, name="dogs")
    store.alias("dogs", "candidate", 2)
    output = tmp_path / "out"
    flags = ["--workers", "0", "--device", "cpu", "--json"]
    named = ["models", "compare", "dogs", "1", "candidate", "--store", str(store.path)]
    assert main([*named, "--data", str(data), "--output", str(output), "--no-explain", *flags]) == 0
    document = json.loads(capsys.readouterr().out)
    assert {name: document[name] for name in ("a", "b", "both", "only_a", "only_b", "neither", "p_value")} == {
        "a": "dogs 1",
        "b": "dogs 2",
        "both": 0,
        "only_a": 3,
        "only_b": 3,
        "neither": 0,
        "p_value": 1.0,
    }
    assert document["difference_interval"][0] < 0 < document["difference_interval"][1]
    assert document["report"] == str(output / "report.html")
    assert json.loads((output / "comparison.json").read_text()) == document
    assert (output / "report.html").read_text().startswith("<!doctype html>")

    assert main(["models", "compare", str(first), str(second.parent), str(data), "--workers", "0"]) == 0
    assert capsys.readouterr().out.startswith("a and b can't be distinguished")

    assert main([*named, "--device", "cpu"]) == 2
    assert "give the images to compare dogs 1 and candidate on: NAME A B DATA" in capsys.readouterr().err
    assert main(["models", "compare", "dogs", "1", "7", str(data), "--store", str(store.path)]) == 2
    assert "model 'dogs' has no version '7'; there are: 1, 2" in capsys.readouterr().err
    assert main(["models", "compare", "dogs"]) == 2
    assert "takes NAME A B DATA, or DIR_A DIR_B DATA" in capsys.readouterr().err
