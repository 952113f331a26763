"""Bad days: a training is killed, interrupted, short of disk, or finds a checkpoint that isn't its own, and goes on."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import random
import resource
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from breedclf import Trainer, TrainingConfig
from breedclf.cli import main
from breedclf.errors import ConfigError, DataError
from breedclf.runtime.timers import StepTimer
from breedclf.training.checkpoints.checkpoint import CheckpointFolder
from breedclf.training.fit import fit
from breedclf.training.hooks import EpochRecord, StepRecord, TrainingHook
from breedclf.training.interruption import TrainingInterrupted
from breedclf.training.results.output_folder import LOCK_FILE
from tests.integration.conftest import QUICK, write_patterns

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="these tests send signals")

EPOCHS = 8


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_patterns(tmp_path_factory.mktemp("resume") / "pictures")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("resume-cache")


@pytest.fixture
def config(pictures: Path, cache: Path, tmp_path: Path) -> TrainingConfig:
    settings: dict[str, Any] = {
        **QUICK,
        "epochs": EPOCHS,
        "batch_size": 4,
        "deterministic": True,
        "profile": "off",
        "device": "cpu",
    }
    return TrainingConfig(data=pictures, cache_dir=cache, output=tmp_path / "out", **settings)


def weights_of(output: Path) -> dict[str, torch.Tensor]:
    return load_file(output / "model" / "model.safetensors")


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def losses(output: Path) -> list[tuple[float, float]]:
    lines = (output / "history.jsonl").read_text().splitlines()
    return [(record["train_loss"], record["valid_loss"]) for record in map(json.loads, lines)]


class EndAt(TrainingHook):
    """Ends the process, or asks it to end, at one step of all."""

    def __init__(self, step: int, number: signal.Signals) -> None:
        self.left = step
        self.number = number

    def on_step(self, step: StepRecord) -> None:
        del step
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), self.number)


def train_in_child(config: TrainingConfig, kill_at_step: int, kill_after_seconds: float) -> None:
    """Train, and be killed at a step, or some time after the first checkpoint, even while one is being written."""
    hooks: list[TrainingHook] = []
    if kill_at_step:
        hooks.append(EndAt(kill_at_step, signal.SIGKILL))
    if kill_after_seconds:

        def kill() -> None:
            while not CheckpointFolder(config.output / "checkpoints").files():
                time.sleep(0.001)
            time.sleep(kill_after_seconds)
            os.kill(os.getpid(), signal.SIGKILL)

        threading.Thread(target=kill, daemon=True).start()
    torch.set_num_threads(1)
    fit(config, hooks=hooks)


@pytest.fixture(scope="module")
def context() -> Iterator[Any]:
    """Processes that begin with torch imported."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["breedclf.training.fit", "tests.integration.test_resume"])
    yield context


def run_child(context: Any, *arguments: Any) -> int:
    child = context.Process(target=train_in_child, args=arguments)
    child.start()
    child.join(120)
    assert child.exitcode is not None, "the training hangs"
    return int(child.exitcode)


EVERYTHING = {
    "optimizer": "adamw",
    "ema": 0.9,
    "mixup": 0.3,
    "schedule": "one_cycle",
    "views": 2,
    "gradient_accumulation_steps": 2,
}


@pytest.mark.parametrize(
    ("settings", "kills"),
    [
        pytest.param({}, 10, marks=pytest.mark.slow, id="plain-10"),
        pytest.param(EVERYTHING, 2, id="everything-2"),
        pytest.param(EVERYTHING, 10, marks=pytest.mark.slow, id="everything-10"),
    ],
)
def test_killed_at_random_moments_it_ends_with_the_very_same_weights(
    config: TrainingConfig, tmp_path: Path, context: Any, settings: dict[str, Any], kills: int
) -> None:
    config = config.replace(**settings)
    assert run_child(context, config, 0, 0.0) == 0
    expected, told = weights_of(config.output), losses(config.output)
    draw = random.Random(kills)
    steps = EPOCHS * 4
    killed = 0
    for number in range(kills):
        torn = config.replace(output=tmp_path / f"torn-{number}")
        at_step, after = (draw.randint(1, steps), 0.0) if number % 2 else (0, draw.uniform(0.0, 0.05))
        killed += run_child(context, torn, at_step, after) == -signal.SIGKILL
        assert run_child(context, torn.replace(resume=True), 0, 0.0) == 0
        assert same(weights_of(torn.output), expected), f"kill {number} at step {at_step} or after {after} s"
        assert losses(torn.output) == told
    assert killed >= kills - kills // 4, "the kills came too late to prove anything"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_after_the_step_and_says_how_to_go_on(
    config: TrainingConfig, tmp_path: Path, number: signal.Signals, caplog: pytest.LogCaptureFixture
) -> None:
    whole = fit(config.replace(output=tmp_path / "whole"))
    steps: list[StepRecord] = []

    class Count(TrainingHook):
        def on_step(self, step: StepRecord) -> None:
            steps.append(step)

    before = signal.getsignal(number)
    with pytest.raises(
        TrainingInterrupted, match=r"in epoch 3 of 8; its state is saved in .*checkpoints.*--resume"
    ) as raised:
        fit(config, hooks=[EndAt(4 * 2 + 2, number), Count()])
    assert isinstance(raised.value, KeyboardInterrupt)
    assert f"{number.name}: training ends after this step" in caplog.text
    assert signal.getsignal(number) == before
    assert (steps[-1].epoch, steps[-1].step) == (3, 2)
    steps.clear()
    result = fit(config.replace(resume=True), hooks=[Count()])
    assert (steps[0].epoch, steps[0].step) == (3, 3), "not a step is done twice"
    assert same(weights_of(config.output), weights_of(whole.output))
    assert [record.epoch for record in result.history] == list(range(1, EPOCHS + 1))


def test_a_signal_while_validating_repeats_the_validation_alone(config: TrainingConfig, tmp_path: Path) -> None:
    whole = fit(config.replace(output=tmp_path / "whole"))
    steps: list[StepRecord] = []

    class StopAtValidation(StepTimer):
        def phase(self, name: str, epoch: int = 0) -> None:
            if (name, epoch) == ("valid", 3):
                os.kill(os.getpid(), signal.SIGTERM)

    class Hook(TrainingHook):
        timer = StopAtValidation()

    class Count(TrainingHook):
        def on_step(self, step: StepRecord) -> None:
            steps.append(step)

    with pytest.raises(TrainingInterrupted, match="in epoch 3 of 8"):
        fit(config, hooks=[Hook()])
    result = fit(config.replace(resume=True), hooks=[Count()])
    assert (steps[0].epoch, steps[0].step) == (4, 1)
    assert same(weights_of(config.output), weights_of(whole.output))
    assert [r.train_loss for r in result.history] == [r.train_loss for r in whole.history]


def test_a_second_signal_ends_it_at_once(config: TrainingConfig) -> None:
    class Impatient(TrainingHook):
        def on_step(self, step: StepRecord) -> None:
            if step.step == 2:
                os.kill(os.getpid(), signal.SIGINT)
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(1)

    with pytest.raises(KeyboardInterrupt) as raised:
        fit(config, hooks=[Impatient()])
    assert not isinstance(raised.value, TrainingInterrupted)


def test_the_command_line_tells_how_to_go_on_and_does(
    config: TrainingConfig, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from breedclf.training.progress import ProgressLog

    monkeypatch.setattr(ProgressLog, "on_step", EndAt(6, signal.SIGINT).on_step, raising=False)
    words = ["train", str(config.data), "--architecture", "shufflenet_v2_x0_5", "--weights", "none"]
    words += ["--chunk-size", "8"]
    words += ["--epochs", "8", "--batch-size", "4", "--output", str(config.output)]
    assert main(words) == 130
    assert "To continue, repeat the command with --resume" in capsys.readouterr().err
    monkeypatch.undo()
    assert main([*words, "--resume", "--json"]) == 0
    captured = capsys.readouterr()
    assert len(json.loads(captured.out)["history"]) == 8
    assert "resuming after epoch 1 of 8" in captured.err


def test_what_has_ended_is_not_trained_again_and_more_epochs_go_on(config: TrainingConfig, tmp_path: Path) -> None:
    heard: list[int] = []

    class Listener(TrainingHook):
        def on_epoch(self, epoch: EpochRecord) -> None:
            heard.append(epoch.epoch)

    fit(config.replace(epochs=3))
    fit(config.replace(epochs=3, resume=True), hooks=[Listener()])
    assert heard == []
    fit(config.replace(epochs=5, resume=True), hooks=[Listener()])
    assert heard == [4, 5]
    whole = fit(config.replace(epochs=5, output=tmp_path / "whole"))
    assert same(weights_of(config.output), weights_of(whole.output))


def test_two_checkpoints_are_kept_and_hold_no_code(config: TrainingConfig) -> None:
    fit(config)
    folder = CheckpointFolder(config.output / "checkpoints")
    assert [file.name for file in folder.files()] == [
        f"epoch-{epoch:05d}-step-00000000.safetensors" for epoch in (EPOCHS, EPOCHS - 1)
    ]
    assert "module/weight" in load_file(folder.files()[0])
    assert not list(folder.path.glob("*.part"))


@pytest.mark.parametrize("harm", ["cut", "flipped", "empty", "text"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before_it_and_says_so(
    config: TrainingConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture, harm: str
) -> None:
    whole = fit(config.replace(output=tmp_path / "whole"))
    fit(config.replace(epochs=4))
    newest = CheckpointFolder(config.output / "checkpoints").files()[0]
    data = newest.read_bytes()
    middle = len(data) // 2
    flipped = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
    newest.write_bytes({"cut": data[:-7], "flipped": flipped, "empty": b"", "text": b"no checkpoint"}[harm])
    with caplog.at_level(logging.INFO, "breedclf"):
        fit(config.replace(resume=True))
    assert f"checkpoint {newest} is damaged" in caplog.text
    assert "using the previous one, epoch-00003-step-00000000.safetensors" in caplog.text
    assert same(weights_of(config.output), weights_of(whole.output))


def test_the_first_start_may_ask_to_resume(config: TrainingConfig, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "breedclf"):
        assert len(fit(config.replace(epochs=2, resume=True)).history) == 2
    assert "no checkpoint in" in caplog.text


def test_without_a_whole_checkpoint_it_begins_with_the_first_epoch(
    config: TrainingConfig, caplog: pytest.LogCaptureFixture
) -> None:
    fit(config.replace(epochs=2))
    for file in CheckpointFolder(config.output / "checkpoints").files():
        file.write_bytes(b"")
    with caplog.at_level(logging.INFO, "breedclf"):
        result = fit(config.replace(epochs=2, resume=True))
    assert len(result.history) == 2
    assert "there is no previous one" in caplog.text
    assert "training starts with the first epoch" in caplog.text


def test_a_checkpoint_of_other_settings_names_the_differing_ones(config: TrainingConfig) -> None:
    fit(config.replace(epochs=2))
    other = config.replace(epochs=2, learning_rate=0.01, batch_size=8, workers=0, resume=True)
    with pytest.raises(ConfigError) as raised:
        fit(other)
    message = str(raised.value)
    assert "batch_size was 4, is 8; learning_rate was 0.005, is 0.01. Use the same ones" in message
    assert "workers" not in message
    with pytest.raises(ConfigError, match="epochs was 2, is 1"):
        fit(config.replace(epochs=1, resume=True))


def test_a_checkpoint_of_an_older_version_goes_on_where_and_how_it_may(
    config: TrainingConfig, caplog: pytest.LogCaptureFixture
) -> None:
    fit(config.replace(epochs=2))
    folder = CheckpointFolder(config.output / "checkpoints")
    found = folder.load()
    assert found is not None
    older = {name: value for name, value in found.about["config"].items() if name not in ("max_accuracy_drop", "mixup")}
    choices = {**found.about["choices"], "device": "cuda"}
    folder.save(replace(found, about={**found.about, "config": {**older, "gone_since": 1}, "choices": choices}))
    now = config.replace(epochs=3, resume=True, device="cpu", pin_memory=False, chunk_size=4, deterministic=True)
    with caplog.at_level(logging.INFO, "breedclf"):
        result = fit(now.replace(mlflow_uri="http://127.0.0.1:1"))
    assert [record.epoch for record in result.history] == [1, 2, 3]
    assert "the checkpoint was made on cuda; on cpu the result is the same up to rounding" in caplog.text
    with pytest.raises(ConfigError, match="mixup was 0.0, is 0.2"):
        fit(now.replace(mixup=0.2))


def test_images_that_changed_meanwhile_are_told(tmp_path: Path, config: TrainingConfig) -> None:
    own = write_patterns(tmp_path / "own")
    config = config.replace(data=own)
    fit(config.replace(epochs=1))
    moved = tmp_path / "moved"
    own.rename(moved)
    fit(config.replace(data=moved, epochs=2, resume=True))  # the same pictures, elsewhere
    write_patterns(moved, counts={"train": 1}, seed=9)
    with pytest.raises(DataError, match="the images have changed since the checkpoint was made"):
        fit(config.replace(data=moved, epochs=3, resume=True))


def full_disk(config: TrainingConfig, most_bytes: int) -> None:
    """Train where no file gets longer than that from the second epoch on."""

    class Fill(TrainingHook):
        def on_epoch(self, epoch: EpochRecord) -> None:
            if epoch.epoch == 2:
                resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, resource.RLIM_INFINITY))
            if epoch.epoch == EPOCHS:
                os._exit(7)

    logging.basicConfig(filename=config.output.with_suffix(".log"))
    fit(config, hooks=[Fill()])


def test_a_full_disk_leaves_the_old_checkpoint_and_the_training_goes_on(
    config: TrainingConfig, tmp_path: Path, context: Any
) -> None:
    child = context.Process(target=full_disk, args=(config, 1_000))
    child.start()
    child.join(120)
    assert child.exitcode == 7, "it didn't come to its last epoch"
    message = config.output.with_suffix(".log").read_text()
    assert "the checkpoint can't be written to" in message
    assert "training continues, the last one stays" in message
    folder = CheckpointFolder(config.output / "checkpoints")
    found = folder.load()
    assert found is not None
    assert found.epochs == 1
    assert [file.suffix for file in folder.path.iterdir()] == [".safetensors"]
    whole = fit(config.replace(output=tmp_path / "whole"))
    fit(config.replace(resume=True))
    assert same(weights_of(config.output), weights_of(whole.output))


def test_two_trainings_into_one_output_are_refused(config: TrainingConfig) -> None:
    refused: list[str] = []

    class Second(TrainingHook):
        def on_epoch(self, epoch: EpochRecord) -> None:
            if epoch.epoch == 1:
                with pytest.raises(ConfigError) as raised:
                    fit(config)
                refused.append(str(raised.value))

    result = fit(config, hooks=[Second()])
    assert "another training run is writing there" in refused[0]
    assert result.artifact.is_dir()
    assert (config.output / LOCK_FILE).exists()
    fit(config.replace(resume=True))  # the lock went with the training


def test_beginning_anew_over_checkpoints_is_told_and_replaces_them(
    config: TrainingConfig, caplog: pytest.LogCaptureFixture
) -> None:
    fit(config)
    fit(config.replace(epochs=2, learning_rate=0.01))
    assert "contains checkpoints of an earlier run, which is restarted (--resume continues it instead)" in caplog.text
    names = [file.name[:11] for file in CheckpointFolder(config.output / "checkpoints").files()]
    assert names == ["epoch-00002", "epoch-00001"]


def test_resume_without_an_output_finds_the_last_one_begun(
    config: TrainingConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = TrainingConfig(**{k: v for k, v in config.model_dump(exclude_unset=True).items() if k != "output"})
    assert [Trainer(config).fit().output.name for _ in range(2)] == ["train", "train-2"]
    assert Trainer(config).fit(resume=True).output.name == "train-2"


def test_without_checkpoints_nothing_is_kept(config: TrainingConfig) -> None:
    fit(config.replace(checkpoints=False))
    assert not (config.output / "checkpoints").exists()
