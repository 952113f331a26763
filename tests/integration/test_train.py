"""A whole training: what it writes, that cached and exact agree, that seeds repeat, and how bad input ends."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from breedclf import Classifier, Trainer, TrainingConfig
from breedclf.cli import main
from breedclf.data import file_digests
from breedclf.data.digests import read_digest
from breedclf.errors import ConfigError, DataError, ImageError
from breedclf.features.stored_pass import FeatureCounts
from breedclf.files import known_files
from breedclf.runtime.cpu_threads import on_threads
from breedclf.training.fit import FitResult
from breedclf.training.hooks import EpochRecord, StepRecord, TrainingHook, TrainingPlan
from tests.integration.conftest import QUICK, write_patterns


def fit(data: Path, output: Path, **settings: object) -> FitResult:
    return Trainer(TrainingConfig(data=data, output=output, **{**QUICK, **settings})).fit()


def head_of(result: FitResult) -> torch.Tensor:
    return load_file(result.artifact / "model.safetensors")["fc.weight"]


def test_it_learns_and_writes_what_it_says(trained: tuple[FitResult, Path]) -> None:
    result, data = trained
    assert result.best.valid_accuracy >= 0.75
    assert [record.epoch for record in result.history] == [1, 2, 3, 4, 5]
    card = json.loads((result.artifact / "breedclf.json").read_text())
    assert card["class_names"] == ["Lying", "Standing"]
    assert card["labels"] == ["001.Lying", "002.Standing"]
    assert card["metrics"]["valid_loss"] == min(record.valid_loss for record in result.history)
    assert TrainingConfig.from_file(result.output / "config.json").data == data
    lines = (result.output / "history.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("head", ["standardized", "linear"])
@pytest.mark.parametrize("views", [1, 2])
def test_cached_and_exact_training_give_the_same_head_to_rounding(
    patterns: Path, tmp_path: Path, head: str, views: int
) -> None:
    cached = fit(patterns, tmp_path / "cached", head=head, views=views)
    exact = fit(patterns, tmp_path / "exact", head=head, views=views, feature_cache=False)
    assert torch.allclose(head_of(cached), head_of(exact), rtol=1e-3, atol=1e-5)
    assert cached.history[-1].valid_loss == pytest.approx(exact.history[-1].valid_loss, rel=1e-3)


def test_views_change_the_training(patterns: Path, tmp_path: Path) -> None:
    one, three = (fit(patterns, tmp_path / str(views), views=views) for views in (1, 3))
    other_views = fit(patterns, tmp_path / "other", views=3, view_seed=1)
    assert not torch.equal(head_of(one), head_of(three))
    assert not torch.equal(head_of(three), head_of(other_views))


def test_mirror_images_take_turns_with_the_plain_crop(patterns: Path, tmp_path: Path) -> None:
    settings = {"cache_dir": tmp_path / "cache", "augment": "flip"}
    both = fit(patterns, tmp_path / "both", epochs=2, **settings)
    assert both.features == FeatureCounts(computed=16 + 16 + 8, reused=0)
    plain = fit(patterns, tmp_path / "plain", epochs=2, cache_dir=tmp_path / "cache")
    assert plain.history[0].train_loss == both.history[0].train_loss
    assert plain.history[1].train_loss != both.history[1].train_loss


def test_a_deterministic_training_repeats_bit_for_bit(patterns: Path, tmp_path: Path) -> None:
    first, again = (
        fit(patterns, tmp_path / name, deterministic=True, cache_dir=tmp_path / f"cache-{name}") for name in ("a", "b")
    )
    assert torch.equal(head_of(first), head_of(again))


def test_later_runs_reuse_the_features_until_an_image_changes(patterns: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    assert fit(patterns, tmp_path / "a", cache_dir=cache).features == FeatureCounts(computed=24, reused=0)
    again = fit(patterns, tmp_path / "b", cache_dir=cache, learning_rate=0.01, epochs=2, batch_size=4, seed=0)
    assert again.features == FeatureCounts(computed=0, reused=24)
    patterns.rename(tmp_path / "moved")
    assert fit(tmp_path / "moved", tmp_path / "c", cache_dir=cache).features == FeatureCounts(computed=0, reused=24)
    write_patterns(tmp_path / "moved", counts={"train": 1}, seed=9)
    assert fit(tmp_path / "moved", tmp_path / "d", cache_dir=cache).features == FeatureCounts(computed=2, reused=22)


def test_later_runs_read_no_image_that_has_not_changed(
    patterns: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known_files, "SETTLED_NS", 0)
    read: list[Path] = []
    monkeypatch.setattr(
        file_digests, "read_digest", lambda path, *clock: read.append(path) or read_digest(path, *clock)
    )
    counts, fingerprints = [], set()
    for settings in ({}, {}, {"verify_files": True}, {"feature_cache": False}):
        result = fit(patterns, tmp_path / "out", cache_dir=tmp_path / "cache", epochs=1, **settings)
        counts.append(len(read))
        read.clear()
        fingerprints.add(json.loads((result.artifact / "breedclf.json").read_text())["data_fingerprint"])
    assert counts == [counts[0], 0, counts[0], counts[0]]
    assert len(fingerprints) == 1


def test_the_test_split_is_never_read(patterns: Path, tmp_path: Path) -> None:
    for path in (patterns / "test").rglob("*.png"):
        path.write_bytes(b"unreadable")
    fit(patterns, tmp_path / "out")


def test_hooks_hear_the_whole_story(patterns: Path, tmp_path: Path) -> None:
    heard: list[str] = []

    class Listener(TrainingHook):
        def on_start(self, plan: TrainingPlan) -> None:
            heard.append(f"start {plan.train_count}+{plan.valid_count}")

        def on_step(self, step: StepRecord) -> None:
            heard.append(f"step {step.step}")

        def on_epoch(self, epoch: EpochRecord) -> None:
            heard.append(f"epoch {epoch.epoch}")

        def on_end(self, result: FitResult) -> None:
            heard.append(f"end {result.best_epoch}")

    config = TrainingConfig(data=patterns, output=tmp_path / "out", epochs=1, batch_size=8, **QUICK)
    Trainer(config).fit(hooks=[Listener()])
    assert heard == ["start 16+8", "step 1", "step 2", "epoch 1", "end 1"]


def test_a_person_gets_one_line_an_epoch(patterns: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="breedclf"):
        fit(patterns, tmp_path / "out", epochs=2)
    assert [line.split("  ")[0] for line in caplog.messages if "epoch " in line] == ["epoch 1/2", "epoch 2/2"]
    assert not [line for line in caplog.messages if line.startswith("breedclf-metrics ")]


def test_an_unreadable_image_ends_training_and_is_named(patterns: Path, tmp_path: Path) -> None:
    (patterns / "train/001.Lying/broken.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(ImageError, match=r"broken\.jpg can't be decoded.*--on-bad-image skip.*breedclf data check"):
        fit(patterns, tmp_path / "out")


@pytest.mark.parametrize("feature_cache", [True, False])
def test_unreadable_images_are_skipped_counted_and_named(patterns: Path, tmp_path: Path, feature_cache: bool) -> None:
    (patterns / "train/001.Lying/broken.jpg").write_bytes(b"\xff\xd8\xff")
    (patterns / "valid/002.Standing/empty.png").touch()
    cache = tmp_path / "cache"
    result = fit(patterns, tmp_path / "out", on_bad_image="skip", feature_cache=feature_cache, cache_dir=cache)
    assert [Path(reason.split(" can't")[0]).name for reason in result.skipped] == ["broken.jpg", "empty.png"]
    if feature_cache:
        with pytest.raises(ImageError, match=r"broken\.jpg"):  # the cached features know it, too
            fit(patterns, tmp_path / "again", cache_dir=cache)


def test_nothing_readable(patterns: Path, tmp_path: Path) -> None:
    for path in (patterns / "valid").rglob("*.png"):
        path.write_bytes(b"text")
    with pytest.raises(DataError, match="none of the 8 images can be read"):
        fit(patterns, tmp_path / "out", on_bad_image="skip")


def test_an_output_that_cannot_be_written_is_found_before_the_work(
    patterns: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    caplog.set_level("INFO", logger="breedclf")
    with pytest.raises(ConfigError, match=r"output=.* can't be written: .*; choose another --output"):
        fit(patterns, tmp_path / "file" / "out")
    assert "training" not in caplog.text
    fit(patterns, tmp_path / "out")
    assert "training" in caplog.text


def test_something_else_in_the_model_folder_is_not_overwritten(patterns: Path, tmp_path: Path) -> None:
    precious = tmp_path / "out" / "model" / "thesis.txt"
    precious.parent.mkdir(parents=True)
    precious.write_text("ten years of work")
    with pytest.raises(ConfigError, match="contains something that isn't a breedclf model"):
        fit(patterns, tmp_path / "out")
    assert precious.read_text() == "ten years of work"


def test_the_default_output_is_numbered_not_overwritten(
    patterns: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    outputs = [Trainer(TrainingConfig(data=patterns, epochs=1, **QUICK)).fit().output for _ in range(3)]
    assert [path.name for path in outputs] == ["train", "train-2", "train-3"]


def test_the_classifier_takes_whatever_holds_an_image(trained: tuple[FitResult, Path]) -> None:
    import numpy as np
    from PIL import Image

    result, data = trained
    path = next((data / "test/002.Standing").iterdir())
    classifier = Classifier(result.artifact)
    expected = classifier.predict(path)
    assert expected.best.class_name == "Standing"
    assert sum(guess.probability for guess in expected.ranked) == pytest.approx(1, abs=1e-5)
    with Image.open(path) as image:
        forms = [str(path), path.read_bytes(), image, np.asarray(image)]
        assert all(prediction == expected for form in forms for prediction in [classifier.predict(form)])
        together = classifier.predict([path, *forms])
    assert [p.best.probability for p in together] == pytest.approx([expected.best.probability] * 5, abs=1e-5)
    assert classifier.predict([]) == []


@pytest.mark.parametrize("bad", ["float array", "wrong shape", "number"])
def test_what_is_no_image_is_refused(trained: tuple[FitResult, Path], bad: str) -> None:
    import numpy as np

    value = {"float array": np.zeros((8, 8, 3)), "wrong shape": np.zeros((8, 8, 2), np.uint8), "number": 3}[bad]
    with pytest.raises((ImageError, TypeError)):
        trained[0].classifier.predict(value)  # type: ignore[arg-type]


def test_below_min_confidence_it_is_none_of_these(patterns: Path, tmp_path: Path) -> None:
    result = fit(patterns, tmp_path / "out", min_confidence=0.999999, epochs=1)
    prediction = result.classifier.predict(next((patterns / "test/001.Lying").iterdir()))
    assert not prediction.known
    assert str(prediction) == "none of these"
    assert len(prediction.top(5)) == 2


# ---- the command line, as a person meets it


def quick_flags(output: Path) -> list[str]:
    return ["--architecture", "shufflenet_v2_x0_5", "--weights", "none", "--output", str(output), "--epochs", "1"]


def test_train_and_predict_by_command(patterns: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", str(patterns), *quick_flags(tmp_path / "out"), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert set(answer) >= {"artifact", "history", "best_epoch", "seconds"}
    assert set(answer["history"][0]) == {"epoch", "train_loss", "valid_loss", "valid_accuracy", "images_per_second"}
    picture = next((patterns / "test/001.Lying").iterdir())
    assert main(["predict", answer["artifact"], str(picture), str(tmp_path / "nothing.jpg"), "--json"]) == 3
    good, bad = json.loads(capsys.readouterr().out)
    assert {guess["label"] for guess in good["predictions"]} == {"001.Lying", "002.Standing"}
    assert good["predictions"][0]["probability"] >= good["predictions"][1]["probability"]
    assert bad["path"].endswith("nothing.jpg")
    assert "can't be read" in bad["error"]


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        (["--weights", "missing.pth"], 3, "weights file missing.pth does not exist"),
        (["--learning-rate", "fast"], 2, "learning_rate='fast': input should be a valid number"),
        (["--freeze", "everything"], 2, "freeze='everything': use head, last_stage, none"),
        (["--on-bad-image", "ignore"], 2, "on_bad_image='ignore'"),
    ],
)
def test_bad_flags_end_with_a_message_and_no_traceback(
    patterns: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: list[str], code: int, message: str
) -> None:
    assert main(["train", str(patterns), *quick_flags(tmp_path / "out"), *change]) == code
    captured = capsys.readouterr()
    assert message in captured.err
    assert "Traceback" not in captured.err
    assert captured.out == ""


def test_bad_folders_and_models(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", str(tmp_path / "nowhere")]) == 3
    assert "does not exist" in capsys.readouterr().err
    assert main(["train"]) == 2
    assert "setting 'data' is required" in capsys.readouterr().err
    assert main(["predict", str(tmp_path), "dog.jpg"]) == 3
    assert "is not a breedclf model" in capsys.readouterr().err


def test_weights_that_overflow_are_named_with_the_first_image(
    patterns: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = ["--architecture", "resnet18", "--weights", str(_overflowing_weights(tmp_path))]
    flags = [*quick_flags(tmp_path / "out"), *weights, "--precision", "bf16"]
    assert main(["train", str(patterns), *flags]) == 3
    assert "0.png: the backbone (resnet18 huge.pth) computes NaN or infinite features" in capsys.readouterr().err


def test_the_cache_is_listed_and_cleared(patterns: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fit(patterns, tmp_path / "out", cache_dir=tmp_path / "cache", epochs=1)
    assert main(["cache", "list", "--cache-dir", str(tmp_path / "cache"), "--json"]) == 0
    [entry] = [each for each in json.loads(capsys.readouterr().out)["entries"] if each["kind"] == "features"]
    assert (entry["kind"], entry["images"], entry["stages"], entry["view"]) == ("features", 24, "head", 0)
    assert entry["backbone"].startswith("shufflenet_v2_x0_5 ")
    assert 0 < entry["size_bytes"] < 1_000_000
    assert main(["cache", "list", "--cache-dir", str(tmp_path / "cache")]) == 0
    assert "24 images of shufflenet_v2_x0_5 none, head, view 0" in capsys.readouterr().out
    assert main(["cache", "clear", "--cache-dir", str(tmp_path / "cache")]) == 0
    assert "cache: deleted " in capsys.readouterr().out
    assert [path for path in (tmp_path / "cache" / "feature-store").rglob("*") if path.is_file()] == []


def _overflowing_weights(folder: Path) -> Path:
    """Weights that are numbers, and features that aren't."""
    from breedclf.models.backbones.backbone import find_backbone

    state = find_backbone("resnet18").new_network(seed=0).state_dict()
    state["bn1.weight"].fill_(1e38)
    torch.save(state, folder / "huge.pth")
    return folder / "huge.pth"


def test_a_last_layer_on_kept_features_takes_one_core_and_so_doesnt_depend_on_their_number(
    patterns: Path, tmp_path: Path
) -> None:
    threads: list[int] = []

    class Watch(TrainingHook):
        def on_step(self, _step: StepRecord) -> None:
            threads.append(torch.get_num_threads())

    with on_threads(2):
        for kept in (True, False):
            settings = TrainingConfig(data=patterns, output=tmp_path / str(kept), **QUICK, feature_cache=kept)
            Trainer(settings).fit(hooks=[Watch()])
        assert torch.get_num_threads() == 2
    assert sorted(set(threads)) == [1, 2]
    assert threads == sorted(threads)


def test_a_training_does_without_torchs_compiler(patterns: Path, tmp_path: Path) -> None:
    """Loading it takes about as long as loading torch itself."""
    code = (
        "import sys; from breedclf import Trainer, TrainingConfig; "
        f"settings = {{'data': {str(patterns)!r}, 'cache_dir': {str(tmp_path / 'cache')!r}, **{QUICK!r}}}; "
        f"Trainer(TrainingConfig(**settings, output={str(tmp_path / 'out')!r})).fit(); "
        "print([name for name in sys.modules if name.startswith('torch._dynamo')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr
