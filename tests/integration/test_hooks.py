"""Hooks: what they receive, what happens when one fails, and that they are closed in every case."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from breedclf import Trainer, TrainingConfig
from breedclf.errors import ConfigError, DataError
from breedclf.training.checkpoints.checkpoint import CheckpointFolder
from breedclf.training.events import EVENTS
from breedclf.training.hooks import EpochRecord, TrainingHook, TrainingPlan
from breedclf.training.interruption import TrainingInterrupted
from breedclf.training.valid_predictions import ScoreCollector, ValidPredictions
from tests.integration.conftest import QUICK, write_patterns


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_patterns(tmp_path_factory.mktemp("hooks") / "pictures", counts={"train": 4, "valid": 3})


def trainer(pictures: Path, output: Path, **settings: Any) -> Trainer:
    return Trainer(TrainingConfig(data=pictures, output=output, **{**QUICK, "profile": "off", "epochs": 2, **settings}))


class Outputs(TrainingHook):
    def __init__(self) -> None:
        self.seen: list[tuple[EpochRecord, ValidPredictions]] = []

    def on_valid(self, epoch: EpochRecord, predictions: ValidPredictions) -> None:
        self.seen.append((epoch, predictions))


@pytest.mark.parametrize("settings", [{}, {"feature_cache": False}], ids=["cached", "streamed"])
def test_predictions_of_each_epoch_agree_with_its_record_and_with_the_model(
    pictures: Path, tmp_path: Path, settings: dict[str, Any]
) -> None:
    outputs = Outputs()
    result = trainer(pictures, tmp_path / "out", calibration=False, **settings).fit(hooks=[outputs])
    assert [epoch for epoch, _ in outputs.seen] == result.history
    for epoch, predictions in outputs.seen:
        assert predictions.labels == ("001.Lying", "002.Standing")
        assert predictions.probabilities.dtype == torch.float32
        assert predictions.targets.tolist() == [0, 0, 0, 1, 1, 1]
        assert predictions.is_correct.double().mean().item() == epoch.valid_accuracy
        of_targets = predictions.probabilities[torch.arange(6), predictions.targets]
        assert -of_targets.double().log().mean().item() == pytest.approx(epoch.valid_loss, rel=1e-4)
    _, best = outputs.seen[result.best_epoch - 1]
    assert [Path(name).parent.name for name in best.images] == ["001.Lying"] * 3 + ["002.Standing"] * 3
    for name, row in zip(best.images, best.probabilities, strict=True):
        answer = {each.label: each.probability for each in result.classifier.predict(name).top(2)}
        assert [answer[label] for label in best.labels] == pytest.approx(row.tolist(), abs=0.02)


def test_predictions_leave_out_images_that_cannot_be_read(tmp_path: Path) -> None:
    pictures = write_patterns(tmp_path / "pictures", counts={"train": 4, "valid": 3})
    (pictures / "valid/001.Lying/1.png").write_bytes(b"no image")
    outputs = Outputs()
    trainer(pictures, tmp_path / "out", epochs=1, on_bad_image="skip").fit(hooks=[outputs])
    ((_, predictions),) = outputs.seen
    assert [Path(name).name for name in predictions.images] == ["0.png", "2.png", "0.png", "1.png", "2.png"]
    assert predictions.targets.tolist() == [0, 0, 1, 1, 1]


def test_predictions_are_collected_only_for_hooks_that_use_them(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("collected")

    monkeypatch.setattr(ScoreCollector, "add", refuse)
    trainer(pictures, tmp_path / "out", calibration=False).fit(hooks=[TrainingHook()])
    with pytest.raises(AssertionError, match="collected"):
        trainer(pictures, tmp_path / "out", calibration=False).fit(hooks=[Outputs()])


def test_predictions_do_not_change_what_is_trained(pictures: Path, tmp_path: Path) -> None:
    without = trainer(pictures, tmp_path / "without", deterministic=True).fit()
    with_them = trainer(pictures, tmp_path / "with", deterministic=True).fit(hooks=[Outputs()])
    names = ("model.safetensors",)
    assert [(without.artifact / name).read_bytes() for name in names] == [
        (with_them.artifact / name).read_bytes() for name in names
    ]


class Heard:
    """Records its calls; not a subclass of TrainingHook. `at` names the event at which it raises."""

    def __init__(self, at: str = "", error: BaseException | None = None) -> None:
        self.calls: list[str] = []
        self.errors: list[BaseException] = []
        self._at, self._error = at, error

    def _hear(self, event: str) -> None:
        self.calls.append(event)
        if event == self._at and self._error is not None:
            raise self._error

    def on_start(self, plan: TrainingPlan) -> None:
        assert plan.labels
        self._hear("on_start")

    def on_features(self, progress: object) -> None:
        self.calls.append(str(progress))

    def on_step(self, *_: object) -> None:
        self._hear("on_step")

    def on_valid(self, *_: object) -> None:
        self._hear("on_valid")

    def on_epoch(self, *_: object) -> None:
        self._hear("on_epoch")

    def on_failure(self, error: BaseException) -> None:
        self.errors.append(error)
        self._hear("on_failure")

    def on_end(self, *_: object) -> None:
        self._hear("on_end")

    def close(self) -> None:
        self._hear("close")


def test_events_come_in_order_to_any_object_that_has_some_of_them(pictures: Path, tmp_path: Path) -> None:
    class Short:
        def __init__(self) -> None:
            self.epochs: list[int] = []

        def on_epoch(self, epoch: EpochRecord) -> None:
            self.epochs.append(epoch.epoch)

    heard, short = Heard(), Short()
    trainer(pictures, tmp_path / "out", batch_size=4, cache_dir=tmp_path / "cache").fit(hooks=[heard, short, heard])
    features = [call for call in heard.calls if call.startswith("FeatureProgress")]
    assert features[-1] == "FeatureProgress(split='valid', view=0, done=6, total=6)"
    assert "FeatureProgress(split='train', view=0, done=8, total=8)" in features
    epoch = ["on_step", "on_step", "on_valid", "on_epoch"]
    assert heard.calls == ["on_start", *features, *epoch, *epoch, "on_end", "close"]
    assert short.epochs == [1, 2]


@pytest.mark.parametrize("event", ["on_start", "on_step", "on_valid", "on_epoch"])
@pytest.mark.parametrize("error", [ZeroDivisionError("mine"), KeyboardInterrupt()], ids=["error", "interrupt"])
def test_an_error_of_a_hook_ends_the_run_unchanged_and_all_hooks_are_told_and_closed(
    pictures: Path, tmp_path: Path, event: str, error: BaseException
) -> None:
    before, failing, after = Heard(), Heard(event, error), Heard()
    with pytest.raises(type(error)) as raised:
        trainer(pictures, tmp_path / "out").fit(hooks=[before, failing, after])
    assert raised.value is error
    for hook in (before, failing, after):
        assert hook.calls[-2:] == ["on_failure", "close"]
        assert hook.calls.count("close") == 1
        assert hook.errors == [error]
    assert not (tmp_path / "out/model").exists()
    saved = CheckpointFolder(tmp_path / "out/checkpoints").load()
    assert (0 if saved is None else saved.epochs) == (event in ("on_valid", "on_epoch")), "whole epochs are saved"


@pytest.mark.parametrize("event", ["on_failure", "close"])
def test_an_error_while_a_failure_is_reported_does_not_hide_it(
    pictures: Path, tmp_path: Path, event: str, caplog: pytest.LogCaptureFixture
) -> None:
    first = RuntimeError("the first one")
    hooks = [Heard("on_epoch", first), Heard(event, ValueError("another")), Heard()]
    with pytest.raises(RuntimeError, match="the first one"):
        trainer(pictures, tmp_path / "out").fit(hooks=hooks)
    assert all(hook.calls[-2:] == ["on_failure", "close"] for hook in hooks)
    assert f"a hook failed in Heard.{event}" in caplog.text
    assert "ValueError: another" in caplog.text


@pytest.mark.parametrize("event", ["on_end", "close"])
def test_an_error_at_the_end_leaves_the_model_and_its_result(
    pictures: Path, tmp_path: Path, event: str, caplog: pytest.LogCaptureFixture
) -> None:
    failing, after = Heard(event, OSError("no disk")), Heard()
    result = trainer(pictures, tmp_path / "out").fit(hooks=[failing, after])
    assert result.artifact.is_dir()
    assert after.calls[-2:] == ["on_end", "close"]
    assert "no disk" in caplog.text


def test_a_failure_before_the_start_is_told_too(tmp_path: Path) -> None:
    heard = Heard()
    with pytest.raises(DataError):
        trainer(tmp_path / "missing", tmp_path / "out").fit(hooks=[heard])
    assert heard.calls == ["on_failure", "close"]
    assert isinstance(heard.errors[0], DataError)


def _attribute(name: str, value: object) -> object:
    return type("Mine", (), {name: value})()


async def _late(self: object, epoch: object) -> None:
    del self, epoch


@pytest.mark.parametrize(
    ("hook", "message"),
    [
        (_attribute("on_epoch_end", lambda _self, _epoch: None), r"Mine.on_epoch_end is no event .* mean 'on_epoch'\?"),
        (_attribute("on_epoch", 3), "Mine.on_epoch must be a method, not int"),
        (_attribute("on_epoch", lambda _self: None), r"Mine.on_epoch must take 1 argument\(s\): too many"),
        (_attribute("on_valid", lambda _self, _epoch: None), r"Mine.on_valid must take 2 argument\(s\)"),
        (_attribute("on_epoch", _late), "Mine.on_epoch is async"),
        (_attribute("epoch", 3), "Mine has none of the methods of a hook: on_start, on_features"),
        (Heard, r"Heard is a class; pass an instance, Heard\(\)"),
    ],
    ids=["misspelled", "no-method", "arguments", "two-arguments", "async", "empty", "class"],
)
def test_what_is_no_hook_is_refused_before_anything_starts(tmp_path: Path, hook: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        trainer(tmp_path / "missing", tmp_path / "out").fit(hooks=[hook])


def test_one_hook_without_a_list_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"hooks must be a list of hooks, not Heard: use hooks=\[hook\]"):
        trainer(tmp_path / "missing", tmp_path / "out").fit(hooks=Heard())  # type: ignore[arg-type]


def test_each_event_has_a_method_of_the_base_class() -> None:
    assert tuple(name for name in vars(TrainingHook) if name.startswith("on_")) == EVENTS
    assert set(EVENTS) == {name for name in vars(Heard) if name.startswith("on_")}


def _fork() -> None:
    if os.fork() == 0:
        os._exit(0)
    os.wait()


def _multiprocessing() -> None:
    process = multiprocessing.get_context("fork").Process(target=len, args=((),))
    process.start()
    process.join()
    assert process.exitcode == 0


def _subprocess() -> None:
    subprocess.run([sys.executable, "-c", ""], check=True)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("start", [_fork, _multiprocessing, _subprocess], ids=["fork", "multiprocessing", "subprocess"])
def test_a_hook_may_start_processes(pictures: Path, tmp_path: Path, start: Callable[[], None]) -> None:
    class Starts(TrainingHook):
        def on_epoch(self, epoch: EpochRecord) -> None:
            del epoch
            start()

    result = trainer(pictures, tmp_path / "out").fit(hooks=[Starts()])
    assert len(result.history) == 2
    assert result.artifact.is_dir()


def test_the_time_of_hooks_is_not_counted_as_training(pictures: Path, tmp_path: Path) -> None:
    class Slow(TrainingHook):
        def on_step(self, step: object) -> None:
            del step
            time.sleep(0.5)

    result = trainer(pictures, tmp_path / "out", epochs=1).fit(hooks=[Slow()])
    assert result.history[0].images_per_second > 2 * 8 / 0.5


def test_an_interrupted_run_is_told_as_interrupted(pictures: Path, tmp_path: Path) -> None:
    class Interrupts(Heard):
        def on_step(self, step: object) -> None:
            del step
            os.kill(os.getpid(), signal.SIGTERM)

    hook = Interrupts()
    with pytest.raises(TrainingInterrupted):
        trainer(pictures, tmp_path / "out").fit(hooks=[hook])
    assert hook.calls[-2:] == ["on_failure", "close"]
    assert isinstance(hook.errors[0], TrainingInterrupted)
