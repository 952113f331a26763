"""Test-time augmentation: probabilities are the mean over each image and its mirror image, whatever computes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from breedclf import Classifier, evaluate
from breedclf.cli import main
from breedclf.config.evaluation import FeatureReuse
from breedclf.data.split import ImageFiles
from breedclf.errors import ConfigError
from breedclf.inference.scoring import Scoring
from breedclf.training.fit import FitResult

Trained = tuple[FitResult, Path]


@pytest.fixture
def paths(trained: Trained) -> list[Path]:
    return sorted(trained[1].glob("test/*/*.png"))


def mean_of_both(result: FitResult, paths: list[Path], **settings: Any) -> torch.Tensor:
    """The mean of the probabilities of images and mirror images, by the plain network in float32."""
    classifier = Classifier(result.artifact, **settings)
    inputs = classifier.inputs(paths)
    with torch.inference_mode():
        both = [torch.softmax(classifier.torch_module()(each), 1) for each in (inputs, inputs.flip(3))]
    assert not torch.allclose(*both, atol=1e-4)
    return torch.stack(both).mean(0)


def test_all_ways_of_predicting_give_the_mean(trained: Trained, paths: list[Path], tmp_path: Path) -> None:
    result, _ = trained
    expected = mean_of_both(result, paths)
    classifier = Classifier(result.artifact, precision="fp32", batch_size=3, tta=True)
    assert torch.allclose(classifier.probabilities(paths), expected, atol=1e-5)
    assert classifier.predict(paths[0]).best.probability == pytest.approx(float(expected[0].max()), abs=1e-5)
    for reuse in (
        FeatureReuse(feature_cache=False),
        FeatureReuse(cache_dir=tmp_path),
        FeatureReuse(cache_dir=tmp_path),
    ):
        scoring = Scoring.read(result.artifact, reuse, tta=True, precision="fp32")
        found, counts = scoring.probabilities(ImageFiles(tuple(paths)), "")
        assert torch.allclose(found.values.float(), expected, atol=1e-5)
        assert counts.computed + counts.reused == 16
    assert counts.reused == 16


def test_an_evaluation_reuses_the_features_of_the_plain_crop(trained: Trained, tmp_path: Path) -> None:
    result, data = trained
    settings: dict[str, Any] = {"cache_dir": tmp_path / "cache", "output": tmp_path / "out"}
    plain = evaluate(result.artifact, data, **settings)
    both = [evaluate(result.artifact, data, tta=True, **settings) for _ in range(2)]
    assert [(each.features.computed, each.features.reused) for each in both if each.features] == [(8, 8), (0, 16)]
    assert (plain.views, both[0].views) == (("plain",), ("plain", "mirrored"))
    assert both[0].loss == both[1].loss != plain.loss
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["views"] == ["plain", "mirrored"]
    assert "2 passes per image" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert evaluate(result.artifact, data, **settings).loss == plain.loss


def test_an_unreadable_image_is_skipped_in_both_views(trained: Trained, paths: list[Path], tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    scoring = Scoring.read(trained[0].artifact, FeatureReuse(feature_cache=False), tta=True)
    found, _ = scoring.probabilities(ImageFiles((paths[0], broken, paths[1])), "")
    assert found.kept.tolist() == [0, 2]
    assert list(found.bad) == [1]
    assert found.values.shape == (2, 2)


def test_the_commands_say_what_they_averaged(
    trained: Trained, paths: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result, data = trained
    own = ["--tta", "--cache-dir", str(tmp_path / "cache")]
    assert main(["evaluate", str(result.artifact), str(data), "--output", str(tmp_path / "out"), *own]) == 0
    assert "probabilities are the mean over plain and mirrored: 2 passes per image" in capsys.readouterr().out
    expected = Classifier(result.artifact, tta=True, batch_size=8).predict(paths)
    for some in (paths, paths[:1]):  # a full chunk, and one image by itself
        assert main(["predict", str(result.artifact), *map(str, some), *own, "--json"]) == 0
        for answer, prediction in zip(json.loads(capsys.readouterr().out), expected, strict=False):
            assert answer["predictions"][0]["probability"] == pytest.approx(prediction.best.probability, abs=1e-2)


def test_wrong_uses_are_refused(trained: Trained, capsys: pytest.CaptureFixture[str]) -> None:
    result, data = trained
    assert main(["predict", "--endpoint", "dogs", "dog.jpg", "--tta"]) == 2
    assert "--tta has no effect on an endpoint: leave it out" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="tta=5: "):
        Classifier(result.artifact, tta=5)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="tta=5: "):
        evaluate(result.artifact, data, tta=5)  # type: ignore[arg-type]
