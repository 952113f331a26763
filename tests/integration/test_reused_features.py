"""Features are computed once: by training, evaluations, predictions of folders and the learning rate finder."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import breedclf
from breedclf import Classifier, Deployment, Evaluation, LocalBackend, Prediction, Trainer, TrainingConfig, evaluate
from breedclf.cli import main
from breedclf.config.evaluation import FeatureReuse
from breedclf.data.split import ImageFiles
from breedclf.errors import ArtifactError, ConfigError
from breedclf.features.store.reading import ShardReader
from breedclf.features.stored_pass import FeatureCounts
from breedclf.inference.model_directory import BACKBONE_KEY, backbone_fingerprint_of, read_artifact
from breedclf.inference.scoring import Scoring
from breedclf.models.backbones.backbone import find_backbone
from breedclf.models.state_dict import fingerprint
from breedclf.models.weights import load_pretrained
from breedclf.training.lr_finder import find_learning_rate
from tests.integration.conftest import QUICK, write_patterns

PASS = "through the backbone"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished training run: images, caches and output."""
    root = tmp_path_factory.mktemp("finished")
    Trainer(config_in(root, write_patterns(root / "images"))).fit()
    return root


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> TrainingConfig:
    """A copy of it; the model is in `output`."""
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    return config_in(tmp_path, tmp_path / "images")


def config_in(root: Path, data: Path) -> TrainingConfig:
    return TrainingConfig(data=data, output=root / "out", cache_dir=root / "cache", epochs=1, **QUICK)


def evaluated(run: TrainingConfig, split: str = "test", **settings: Any) -> tuple[Evaluation, bytes]:
    output = run.output / f"evaluation-{split}"
    shutil.rmtree(output, ignore_errors=True)
    result = evaluate(run.output / "model", run.data, split=split, **{"cache_dir": run.cache_dir, **settings})
    return result, (output / "metrics.json").read_bytes()


def counts(run: TrainingConfig, split: str = "test", **settings: Any) -> tuple[int, int]:
    features = evaluated(run, split, **settings)[0].features
    assert features is not None
    return features.computed, features.reused


def test_an_evaluation_passes_only_new_images_through_the_backbone(run: TrainingConfig) -> None:
    assert counts(run, "train") == (0, 16)
    assert counts(run, "valid") == (0, 8)
    assert counts(run, feature_cache=False) == (8, 0)
    assert counts(run) == (8, 0)
    assert counts(run) == (0, 8)
    assert counts(run, "all") == (0, 32)
    Image.new("RGB", (90, 90), "red").save(run.data / "test" / "001.Lying" / "0.png")
    assert counts(run) == (1, 7)
    assert counts(run, feature_store=str(run.output / "store")) == (8, 0)


@pytest.mark.parametrize("precision", ["auto", "fp32"])
def test_stored_features_have_the_scores_of_the_whole_network_to_the_bit(run: TrainingConfig, precision: Any) -> None:
    _, plain = evaluated(run, precision=precision, feature_cache=False)
    assert [evaluated(run, precision=precision)[1] for _ in range(2)] == [plain, plain]

    paths = sorted(run.data.glob("test/*/*.png"))
    classifier = Classifier(run.output / "model", precision=precision, batch_size=8)
    reuse = FeatureReuse(cache_dir=run.cache_dir)
    found, used = Scoring.read(run.output / "model", reuse, precision=precision).scores(ImageFiles(paths), "")
    with torch.inference_mode():
        [batch] = classifier._batches(paths)
        expected = classifier._network(classifier.preprocessing.normalize(batch.crops, classifier.compute.dtype))
    assert used.computed == 0
    assert found.values.dtype == expected.dtype
    assert torch.equal(found.values, expected)


def test_the_head_alone_is_read_when_all_features_are_stored(run: TrainingConfig) -> None:
    def unneeded(_compute: object) -> torch.nn.Module:
        raise AssertionError("the backbone is built")

    paths = ImageFiles(sorted(run.data.glob("valid/*/*.png")))
    scoring = Scoring.read(run.output / "model", FeatureReuse(cache_dir=run.cache_dir))
    lazy = replace(scoring.features, backbone=replace(scoring.features.backbone, build=unneeded))
    assert len(replace(scoring, features=lazy).scores(paths, "")[0].kept) == 8
    with pytest.raises(AssertionError, match="is built"):
        replace(scoring, features=replace(lazy, cache=None)).scores(paths, "")


def test_the_backbone_of_a_model_is_that_of_its_pretrained_weights(run: TrainingConfig) -> None:
    model = run.output / "model"
    _, state = read_artifact(model)
    pretrained = load_pretrained("shufflenet_v2_x0_5", "none", seed=run.seed)
    backbone = find_backbone("shufflenet_v2_x0_5")
    assert fingerprint(backbone.without_head(state)) == pretrained.fingerprint
    assert backbone_fingerprint_of(model, backbone, state) == pretrained.fingerprint
    with safe_open(model / "model.safetensors", framework="pt") as file:
        assert file.metadata()[BACKBONE_KEY] == pretrained.fingerprint

    settings = {**run.model_dump(exclude_unset=True, exclude={"weights"}), "output": run.output / "continued"}
    continued = TrainingConfig(**settings, start_from=model)
    assert Trainer(continued).fit().features == FeatureCounts(computed=0, reused=24)
    assert counts(continued, "valid") == (0, 8)

    save_file(load_file(model / "model.safetensors"), model / "model.safetensors")  # as other programs write it
    assert backbone_fingerprint_of(model, backbone, state) == pretrained.fingerprint


def test_a_fine_tuned_model_has_features_of_its_own(run: TrainingConfig) -> None:
    tuned = run.replace(freeze="stage3", output=run.output / "tuned")
    Trainer(tuned).fit()
    assert counts(tuned, "valid") == (8, 0)
    assert counts(tuned, "valid") == (0, 8)
    _, plain = evaluated(tuned, "valid", feature_cache=False)
    assert evaluated(tuned, "valid")[1] == plain
    assert counts(run, "valid") == (0, 8)


def test_broken_weights_are_found_before_an_image_passes_through_them(run: TrainingConfig) -> None:
    from hashlib import sha256

    card, file = run.output / "model" / "breedclf.json", run.output / "model" / "model.safetensors"
    state = load_file(file)
    state["stage2.0.branch1.0.weight"][0] = float("nan")
    save_file(state, file)
    card.write_text(
        json.dumps(json.loads(card.read_text()) | {"weights_sha256": sha256(file.read_bytes()).hexdigest()})
    )
    with pytest.raises(ArtifactError, match="NaN or infinite values in stage2"):
        evaluated(run)


def test_a_store_that_fails_changes_no_result(
    run: TrainingConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    result, plain = evaluated(run, feature_cache=False)
    (tmp_path / "file").write_text("not a folder")
    assert evaluated(run, feature_store=tmp_path / "file")[1] == plain
    assert "can't be used" in caplog.text

    evaluated(run)

    def unreadable(*_: object) -> torch.Tensor:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(ShardReader, "read", unreadable)
    again, metrics = evaluated(run)
    assert metrics == plain
    assert again.features == result.features
    assert "stored features can't be read" in caplog.text


def test_labeled_images_of_a_program_are_reused(run: TrainingConfig) -> None:
    paths = sorted(run.data.glob("valid/*/*.png"))
    given = breedclf.from_arrays([path.read_bytes() for path in paths], [path.parent.name for path in paths])
    result = evaluate(
        run.output / "model", {"valid": given}, split="valid", output=run.output / "given", cache_dir=run.cache_dir
    )
    assert result.features is not None and result.features.reused == 8
    assert result.accuracy == evaluated(run, "valid")[0].accuracy


def test_the_command_counts_features(run: TrainingConfig, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["evaluate", run.output / "model", run.data, "--cache-dir", run.cache_dir, "--split", "valid", "--json"]
    assert main([*map(str, command)]) == 0
    assert json.loads(capsys.readouterr().out)["features"] == {"computed": 0, "reused": 8}


def test_predictions_of_a_folder_reuse_features(run: TrainingConfig, capsys: pytest.CaptureFixture[str]) -> None:
    (run.data / "test" / "001.Lying" / "broken.jpg").write_bytes(b"\xff\xd8 no image")

    def predicted(*more: object) -> tuple[list[dict[str, Any]], str]:
        words = ["predict", run.output / "model", run.data / "test", *more, "--json", "--cache-dir", run.cache_dir]
        assert main([*map(str, words)]) == 3
        printed = capsys.readouterr()
        return json.loads(printed.out), printed.err

    first, log = predicted("missing.png", "https://example.org/dog.jpg")
    assert f"10 of 10 images {PASS}" in log
    answers = {Path(answer["path"]).name: answer for answer in first}
    assert [answer["path"] for answer in first[:9]] == sorted(answer["path"] for answer in first[:9])
    assert "missing.png can't be read: No such file" in answers["missing.png"]["error"]
    assert "it is a URL" in answers["dog.jpg"]["error"]
    assert "broken.jpg" in answers["broken.jpg"]["error"]
    good = [answer for answer in first if "error" not in answer]
    expected = Classifier(run.output / "model", batch_size=8).predict([answer["path"] for answer in good])
    assert [answer["predictions"] for answer in good] == [each.to_dict(5)["predictions"] for each in expected]

    again, log = predicted()
    assert again == first[:9]
    assert f"1 of 9 images {PASS}" in log, "only the broken one is tried again"
    assert predicted("--no-feature-cache")[0] == first[:9]


def test_a_transform_on_this_machine_reuses_features(
    run: TrainingConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level("INFO", logger="breedclf")
    monkeypatch.setenv("BREEDCLF_CACHE_DIR", str(run.cache_dir))
    (run.data / "valid" / "001.Lying" / "broken.jpg").write_bytes(b"\xff\xd8 no image")
    backend = LocalBackend(tmp_path / "home")
    result = Deployment(run.output / "model", backend).transform(run.data / "valid", tmp_path / "predicted")
    assert (result.answered, list(result.failed)) == (8, ["001.Lying/broken.jpg"])
    assert f"1 of 9 images {PASS}" in caplog.text
    assert backend.list_endpoints() == []
    lines = [json.loads(line) for line in result.predictions.read_text().splitlines()]
    paths = [run.data / "valid" / line["path"] for line in lines if "error" not in line]
    expected = Classifier(run.output / "model", batch_size=8).predict(paths)
    assert [Prediction.from_dict(line) for line in lines if "error" not in line] == expected


def test_a_transform_takes_the_settings_of_stored_features(
    run: TrainingConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="breedclf")
    deployment = Deployment(run.output / "model", LocalBackend(tmp_path / "home"))
    for name in ("computed", "reused"):
        caplog.clear()
        deployment.transform(run.data / "valid", tmp_path / name, feature_store=tmp_path / "own", cache_dir=tmp_path)
        assert (PASS in caplog.text) == (name == "computed")
    deployment.transform(run.data / "valid", tmp_path / "without", feature_cache=False)
    assert (tmp_path / "without" / "predictions.csv").read_text() == (tmp_path / "reused/predictions.csv").read_text()
    elsewhere = Deployment(run.output / "model", LocalBackend(tmp_path / "home"), engine="openvino")
    with pytest.raises(ConfigError, match="feature_cache=False: only predictions in this process reuse features"):
        elsewhere.transform(run.data / "valid", tmp_path / "other", feature_cache=False)


def test_few_images_pass_one_by_one_and_leave_the_disk_alone(
    run: TrainingConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = run.data / "test" / "001.Lying"
    assert main(["predict", str(run.output / "model"), str(few), "--cache-dir", str(tmp_path / "new")]) == 0
    assert capsys.readouterr().out.count(".png") == 4
    assert not (tmp_path / "new").exists()
    (tmp_path / "empty").mkdir()
    assert main(["predict", str(run.output / "model"), str(tmp_path / "empty")]) == 3
    assert "contains no images" in capsys.readouterr().err
    assert main(["predict", "--endpoint", "dogs", "a.jpg", "--no-feature-cache"]) == 2
    assert "--feature-cache has no effect on an endpoint" in capsys.readouterr().err


def test_the_learning_rate_finder_computes_nothing_after_training(
    run: TrainingConfig, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="breedclf")
    find_learning_rate(run, steps=10)
    assert PASS not in caplog.text
    find_learning_rate(run.replace(seed=1), steps=10)  # other random weights
    assert f"16 of 16 images {PASS}" in caplog.text
