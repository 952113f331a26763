"""Backbones compared on small images: the result, its features, and what is refused."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import save_file

from breedclf import BackboneComparison, Trainer, TrainingConfig, compare_backbones
from breedclf.backbones.candidates import load_candidate
from breedclf.backbones.comparison import paired_results, pick
from breedclf.backbones.passes import LoadedCandidate, Passes
from breedclf.backbones.speed import Speed
from breedclf.backbones.text import comparison_text, next_command
from breedclf.cli import main
from breedclf.errors import ConfigError, WeightsError
from breedclf.models.weights import load_pretrained
from breedclf.testing.pages import read_page
from tests.integration.conftest import write_patterns

PAIR = ["resnet18", "shufflenet_v2_x0_5"]


def config_in(root: Path, **settings: object) -> TrainingConfig:
    values = {"data": root / "images", "cache_dir": root / "cache", "weights": "none", "chunk_size": 8, **settings}
    return TrainingConfig(**values)


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, BackboneComparison]:
    """A comparison of two small networks, and the folder of its images and caches."""
    root = tmp_path_factory.mktemp("compared")
    write_patterns(root / "images", counts={"train": 8, "valid": 4, "test": 4})
    return root, compare_backbones(config_in(root), PAIR)


def test_each_candidate_is_measured(compared: tuple[Path, BackboneComparison]) -> None:
    _, comparison = compared
    assert [each.name for each in comparison.candidates] == PAIR
    assert (comparison.images, comparison.available, comparison.folds, comparison.classes) == (24, 24, 5, 2)
    for each in comparison.candidates:
        assert each.accuracy == each.correct / 24
        assert each.accuracy_interval[0] <= each.accuracy <= each.accuracy_interval[1]
        assert each.images_per_second > 0
        assert (each.computed, each.reused) == (24, 0)
        assert each.license is None  # random weights have none
    first, second = comparison.candidates
    assert first.p_value == 1.0
    assert (first.features, second.features) == (512, 1024)
    assert (round(first.parameters / 1e6, 1), round(second.parameters / 1e6, 2)) == (11.2, 0.34)
    assert first.accuracy > 0.7, "a head on random features tells stripes apart"


def test_the_heads_are_those_that_training_trains(compared: tuple[Path, BackboneComparison]) -> None:
    """The images of one fold are predicted as by a model that was trained on the others."""
    root, comparison = compared
    config = config_in(root, architecture="resnet18", output=root / "by-hand")
    passes = Passes.start(config, None)
    from breedclf.training.folds.stratified import stratified_folds

    folds = stratified_folds(passes.pool.targets, [""] * 24, config.split_seed)
    correct = 0
    for fold in range(5):
        data = root / f"fold-{fold}"
        for at, (target, other) in enumerate(zip(passes.pool.targets, folds, strict=True)):
            split = "valid" if other == fold else "train"
            place = data / split / passes.data.labels[target]
            place.mkdir(parents=True, exist_ok=True)
            # the order of the training images decides the batches
            shutil.copy(passes.pool.images.name(at), place / f"{at:02}.png")
        trained = Trainer(config.replace(data=data, output=root / f"out-{fold}", epochs=3)).fit()
        assert trained.features is not None
        assert trained.features.computed == 0, "the features of the comparison are reused"
        correct += round(trained.history[-1].valid_accuracy * folds.count(fold))
    assert abs(correct - comparison.candidates[0].correct) <= 1  # the order within a batch rounds differently


def test_features_are_computed_once(compared: tuple[Path, BackboneComparison]) -> None:
    root, comparison = compared
    again = compare_backbones(config_in(root), PAIR)
    assert [(each.computed, each.reused) for each in again.candidates] == [(0, 24)] * 2
    assert [each.correct for each in again.candidates] == [each.correct for each in comparison.candidates]
    trained = Trainer(config_in(root, architecture=PAIR[1], output=root / "out")).fit()
    assert trained.features is not None
    assert (trained.features.computed, trained.features.reused) == (0, 24)


def test_without_a_cache_results_are_the_same(compared: tuple[Path, BackboneComparison], tmp_path: Path) -> None:
    root, comparison = compared
    config = config_in(root, feature_cache=False, cache_dir=tmp_path / "cache")
    again = compare_backbones(config, PAIR[:1])
    assert again.candidates[0].correct == comparison.candidates[0].correct
    assert again.best is again.candidates[0]
    assert "the only candidate" in comparison_text(again)


def test_the_test_split_is_not_read(tmp_path: Path) -> None:
    write_patterns(tmp_path / "images", counts={"train": 6, "valid": 2, "test": 2})
    for image in (tmp_path / "images" / "test").rglob("*.png"):
        image.write_bytes(b"no image")
    assert compare_backbones(config_in(tmp_path), PAIR[1:]).images == 16


def test_groups_of_a_table_stay_in_one_fold(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_patterns(tmp_path / "images", counts={"train": 8})
    lines = ["path,label,group"]
    for image in sorted((tmp_path / "images").rglob("*.png")):
        group = f"{image.parent.name}-{int(image.stem) // 2}" if "Lying" in image.parent.name else "standing"
        lines.append(f"{image.relative_to(tmp_path)},{image.parent.name},{group}")
    (tmp_path / "images.csv").write_text("\n".join(lines), encoding="utf-8")
    comparison = compare_backbones(config_in(tmp_path, data=tmp_path / "images.csv"), PAIR[1:])
    # the only group of the second class is always trained, and valid has two of the first class's groups
    assert comparison.images < comparison.available
    assert comparison.folds == min(5, comparison.images // 2)
    assert "trained on, not evaluated" in caplog.text


def test_images_with_the_same_content_stay_in_one_fold(tmp_path: Path) -> None:
    """Copies in other folds would make any backbone look perfect: random pixels with random labels can't be learned."""
    draw = np.random.default_rng(0)
    from PIL import Image

    for label in ("a", "b"):
        for number in range(10):
            pixels = draw.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            for copy in range(3):
                place = tmp_path / "images" / ("train" if number < 8 else "valid") / label
                place.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(place / f"{number}-{copy}.png")
    comparison = compare_backbones(config_in(tmp_path, epochs=20), PAIR[1:])
    assert comparison.images == 60
    assert comparison.candidates[0].accuracy < 0.8


def test_unreadable_images_are_skipped_on_request(tmp_path: Path) -> None:
    data = write_patterns(tmp_path / "images", counts={"train": 6, "valid": 2})
    next((data / "train").rglob("3.png")).write_bytes(b"no image")
    comparison = compare_backbones(config_in(tmp_path, on_bad_image="skip"), PAIR[1:])
    assert comparison.images == 15
    assert len(comparison.skipped) == 1


def test_a_budget_takes_the_same_subset_for_all(compared: tuple[Path, BackboneComparison]) -> None:
    root, _ = compared
    config = config_in(root, cache_dir=root / "other-cache")
    passes = Passes.start(config, None)
    candidate, _ = load_candidate(config.replace(architecture=PAIR[1]), passes.data, passes.compute)
    loaded = {name: LoadedCandidate(candidate, Speed(0.01, 0.5), frozenset(), None) for name in PAIR}
    plan = passes.plan(loaded, 25.0, spent_seconds=5.0)
    assert len(plan.images) == 18  # 0.9 of 20 s at 2 x 0.5 s per image
    assert passes.plan(loaded, None, 0.0).images == tuple(range(24))


def test_a_budget_that_suffices_changes_nothing(compared: tuple[Path, BackboneComparison]) -> None:
    root, comparison = compared
    again = compare_backbones(config_in(root), PAIR, budget_seconds=600)
    assert again.images == 24
    assert [each.correct for each in again.candidates] == [each.correct for each in comparison.candidates]


def test_nan_features_leave_a_candidate_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_patterns(tmp_path / "images", counts={"train": 6, "valid": 2})
    state = {name: tensor.clone() for name, tensor in load_pretrained("resnet18", "none").state.items()}
    state["layer4.1.bn2.weight"][:] = 3e38  # finite, as weights must be, but its products aren't
    save_file(state, tmp_path / "broken.safetensors")
    weights = {"resnet18": tmp_path / "broken.safetensors"}
    comparison = compare_backbones(config_in(tmp_path), PAIR, weights=weights)
    assert [each.name for each in comparison.candidates] == PAIR[1:]
    assert comparison.left_out.keys() == {"resnet18"}
    assert "computes NaN or infinite features" in comparison.left_out["resnet18"]
    assert "resnet18 isn't compared: " in caplog.text
    assert "resnet18 isn't compared: " in comparison_text(comparison)
    with pytest.raises(WeightsError, match="computes NaN or infinite features"):
        compare_backbones(config_in(tmp_path), PAIR[:1], weights=weights)


@pytest.mark.parametrize(
    ("changes", "candidates", "weights", "message"),
    [
        ({}, ["resnet18", "efficientnet_lite0"], {}, "candidate 'efficientnet_lite0' is no .* the nearest names"),
        ({}, [], {}, "there are no candidates"),
        ({}, ["resnet18", "ResNet18"], {}, "candidates resnet18: named twice"),
        ({}, ["resnet18"], {"resnet50": "x.pth"}, "weights of resnet50, which isn't a candidate"),
        ({"freeze": "layer4"}, ["resnet18"], {}, "freeze=layer4: backbones are compared by their frozen features"),
        ({"weights": "x.pth"}, PAIR, {}, "say which, as in --weights resnet18="),
    ],
    ids=["unknown", "none", "twice", "stranger", "freeze", "one-file"],
)
def test_wrong_candidates_are_refused(
    tmp_path: Path, changes: dict[str, str], candidates: list[str], weights: dict[str, str], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        compare_backbones(config_in(tmp_path, **changes), candidates, weights=weights)


def test_weights_that_cannot_be_read_are_reported_before_any_pass(compared: tuple[Path, BackboneComparison]) -> None:
    root, _ = compared
    config = config_in(root, cache_dir=root / "unused-cache")
    with pytest.raises(WeightsError, match=r"nowhere\.pth"):
        compare_backbones(config, PAIR, weights={PAIR[1]: root / "nowhere.pth"})
    assert not list((root / "unused-cache").rglob("*.shard*"))


def test_the_pick_is_the_fastest_that_is_level_with_the_best() -> None:
    draw = np.random.default_rng(1)
    best = draw.random(400) < 0.9
    level, worse = best.copy(), best.copy()
    level[np.flatnonzero(best)[:3]] = False
    worse[np.flatnonzero(best)[:40]] = False
    speeds = [900.0, 300.0, 100.0]
    results = paired_results([worse, level, best], speeds)
    assert [result.p_value_of_best >= 0.05 for result in results] == [False, True, True]
    assert results[0].p_value == 1.0
    assert results[1].p_value < 0.001
    assert pick([result.p_value_of_best for result in results], speeds) == 1


def test_the_report_is_one_file_that_names_the_pick(compared: tuple[Path, BackboneComparison], tmp_path: Path) -> None:
    _, comparison = compared
    comparison.report(tmp_path / "report.html")
    page = read_page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert page.problems == []
    assert f"Take {comparison.best.name}." in page.text
    assert all(each.name in page.text for each in comparison.candidates)
    assert next_command(comparison) in page.text


def test_the_text_fits_100_columns(compared: tuple[Path, BackboneComparison]) -> None:
    lines = comparison_text(compared[1]).splitlines()
    assert max(map(len, lines)) <= 100
    assert [line[0] for line in lines[1:3]].count("*") == 1


def test_the_command(
    compared: tuple[Path, BackboneComparison], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, comparison = compared
    settings = ["--cache-dir", str(root / "cache"), "--chunk-size", "8", "--weights", "none", "--json"]
    command = ["backbones", "compare", str(root / "images"), "--candidates", ",".join(PAIR), *settings]
    assert main([*command, "--budget", "20m", "--output", str(tmp_path)]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document == json.loads((tmp_path / "comparison.json").read_text(encoding="utf-8"))
    assert document["best"] in PAIR
    fields = {"name", "accuracy", "accuracy_interval", "p_value", "images_per_second", "model_mb", "license"}
    assert all(fields <= candidate.keys() for candidate in document["candidates"])
    assert [each["correct"] for each in document["candidates"]] == [each.correct for each in comparison.candidates]
    assert (tmp_path / "report.html").is_file()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--candidates", "resnet18", "--budget", "soon"], "budget='soon' isn't a duration"),
        (["--candidates", "resnet18", "--weights", "resnet18="], "give a file after the ="),
        (
            ["--candidates", "resnet18", "--weights", "resnet18=a.pth", "--weights", "resnet18=b.pth"],
            "resnet18 can have only one of a.pth and b.pth",
        ),
        (
            ["--candidates", "shufflenet_v2_x0_5", "--budget", "0.001"],
            "the budget of 0.001 s is too small for one candidate",
        ),
    ],
    ids=["budget", "weights", "two-weights", "small-budget"],
)
def test_wrong_flags_are_refused(
    compared: tuple[Path, BackboneComparison],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    flags: list[str],
    message: str,
) -> None:
    command = ["backbones", "compare", str(compared[0] / "images"), *flags, "--output", str(tmp_path / "out")]
    if "--weights" not in flags:
        command += ["--weights", "none"]
    assert main([*command, "--cache-dir", str(tmp_path / "cache")]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_an_interrupted_comparison_keeps_its_features(tmp_path: Path) -> None:
    write_patterns(tmp_path / "images", counts={"train": 30, "valid": 5})
    words = ["backbones", "compare", str(tmp_path / "images"), "--candidates", "resnet18,resnet34", "--weights", "none"]
    command = [sys.executable, "-m", "breedclf", *words, "--cache-dir", str(tmp_path / "cache"), "--json"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "features of resnet34" in line:
                break
        os.kill(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "the features computed so far are stored" in errors
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=240)
    first, _ = json.loads(done.stdout)["candidates"]
    assert (first["computed"], first["reused"]) == (0, 70)
