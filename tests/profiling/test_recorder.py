"""Recording: what the timers sum up to, what the samplers survive, what a crash leaves, what tracing gives."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import textwrap
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from breedclf.config import TrainingConfig
from breedclf.errors import TrainingError
from breedclf.profiling.profile import Profile
from breedclf.profiling.recorder import FULL, Recorder, Recording, recorders_of
from breedclf.profiling.rules import ALL_RULES, check
from breedclf.profiling.sampler import Sampler
from breedclf.profiling.step_recorder import StepRecorder
from breedclf.profiling.tensor_watch import TensorWatch
from breedclf.profiling.tracing import Tracer, WorkCounter
from breedclf.training.fit import fit
from tests.fakes import FakeClock
from tests.image_folders import write_noise


class Event:
    """A CUDA event of a device whose time runs at half the host's; refuses to be read before it is waited for."""

    clock: FakeClock
    waited = False

    def record(self) -> None:
        self.time = self.clock.now / 2

    def synchronize(self) -> None:
        Event.waited = True

    def elapsed_time(self, other: Event) -> float:
        assert Event.waited, "not finished yet"
        return (other.time - self.time) * 1e3


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_noise(tmp_path_factory.mktemp("images"), train=8, valid=2)


def config(pictures: Path, folder: Path, **settings: Any) -> TrainingConfig:
    given = {"architecture": "resnet18", "weights": "none", "epochs": 2, "batch_size": 2, "chunk_size": 2, "workers": 0}
    return TrainingConfig(
        **{"data": pictures, "output": folder / "out", "cache_dir": folder / "cache", **given, **settings}
    )


@pytest.fixture(scope="module")
def full(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Profile, Path]:
    """A small training, recorded in full."""
    folder = tmp_path_factory.mktemp("full")
    with Recorder(folder / "profile", name="small", recording=FULL) as recorder:
        fit(config(pictures, folder), hooks=[recorder])
    return recorder.profile(), folder / "profile"


def test_laps_fill_the_parts_and_steps_follow_each_other() -> None:
    clock = FakeClock(100.0)
    recorder = StepRecorder(clock=clock)
    recorder.phase("train", epoch=1)
    for _ in range(3):
        for part, seconds in (("data_wait", 1.0), ("forward", 2.0), ("backward", 3.0), ("optimizer", 0.5)):
            clock.advance(seconds)
            recorder.lap(part)
        clock.advance(0.25)
        recorder.step(32)
    recorder.close_phase()
    steps = recorder.steps(100.0)
    assert steps.start.tolist() == [0.0, 6.75, 13.5]
    assert steps.duration.tolist() == [6.75] * 3
    assert {part: column.tolist() for part, column in steps.parts.items()} == {
        "data_wait": [1.0] * 3,
        "forward": [2.0] * 3,
        "backward": [3.0] * 3,
        "optimizer": [0.5] * 3,
    }
    spans = recorder.spans(100.0)
    assert (spans.name, spans.duration.tolist()) == (("epoch",), [20.25])


def test_on_a_gpu_the_parts_are_the_devices_time_and_waiting_the_hosts() -> None:
    clock = Event.clock = FakeClock(100.0)
    Event.waited = False
    recorder = StepRecorder(clock=clock, new_event=Event)
    recorder.phase("train")
    for part in ("data_wait", "forward", "backward"):
        clock.advance(4.0)
        recorder.lap(part)
    recorder.step(1)
    recorder.close_phase()
    parts = recorder.steps(100.0).parts
    assert {part: column.tolist() for part, column in parts.items()} == {
        "data_wait": [4.0],
        "forward": [2.0],
        "backward": [2.0],
    }


def test_tensor_snapshots_count_training_steps_over_epochs_and_pause_in_validation() -> None:
    model, optimizer = network(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    watch = TensorWatch(every=2)
    recorder = StepRecorder(tensors=watch)
    recorder.watch(model, optimizer)
    for epoch in (1, 2):
        recorder.phase("train", epoch)
        for _ in range(3):
            optimizer.zero_grad()
            model(torch.ones(2, 4)).sum().backward()
            recorder.lap("backward")
            optimizer.step()
            recorder.lap("optimizer")
            recorder.step(2)
        recorder.phase("valid", epoch)
        model(torch.ones(2, 4))
        recorder.step(2)
    assert {tuple(series.step.tolist()) for series in watch.series()} == {(0, 2, 4)}


def test_every_hook_with_a_timer_receives_every_step(pictures: Path, tmp_path: Path) -> None:
    with Recorder(keep=False) as first, Recorder(keep=False) as second:
        fit(config(pictures, tmp_path), hooks=[first, second])
    for recorder in (first, second):
        assert int(recorder.profile().steps.of("train").sum()) == 16
        assert len(recorder.profile().learning.step_loss) == 16


def test_the_parts_of_a_real_training_add_up_to_its_epochs(full: tuple[Profile, Path]) -> None:
    profile, _ = full
    assert profile.job.status == "Completed"
    assert set(profile.steps.phases) == {"features", "train", "valid"}
    assert int((profile.steps.of("train")).sum()) == 2 * 8
    assert int(profile.steps.images[profile.steps.of("features")].sum()) == 20
    features = profile.steps.of("features")
    in_parts = sum(column[features].sum() for column in profile.steps.parts.values())
    # Without the looks at tensors, which the steps leave out too, the rest is bookkeeping.
    assert in_parts == pytest.approx(profile.steps.duration[features].sum(), rel=0.02)
    assert profile.spans.seconds("feature extraction") > 0
    assert profile.spans.name[0] == "initialization"
    assert profile.spans.name[-1] == "finalization"
    assert profile.spans.name.count("epoch") == 2


def test_a_full_recording_has_operators_flops_and_tensor_snapshots(full: tuple[Profile, Path]) -> None:
    profile, folder = full
    names = {operator.name for operator in profile.operators}
    assert "aten::addmm" in names or "aten::linear" in names
    assert any("conv" in name for name in names)
    # ResNet-18 at 224 px: 1.81 G multiply-adds an image, counted as two operations each.
    assert profile.compute.flops_per_step == pytest.approx(2 * 1.81e9 * 2, rel=0.02)
    assert profile.compute.peak_flops_per_second is not None
    kinds = {tensor.kind for tensor in profile.tensors}
    assert kinds == {"weight", "gradient", "activation", "input"}
    assert profile.overhead.traced_steps > 0
    assert profile.overhead.timer_seconds_per_step is not None
    assert profile.loader.decode_seconds is not None
    assert profile.loader.images_measured == 20
    assert profile.learning.class_counts.tolist() == [8, 8]
    assert len(profile.learning.step_loss) == 16
    events = json.loads((folder / "trace.json").read_text())["traceEvents"]
    assert any(str(event["name"]).startswith("aten::") for event in events)
    assert len(Profile.load(folder).steps) == len(profile.steps)


def test_rules_answer_on_a_real_recording_and_the_machine_was_sampled(full: tuple[Profile, Path]) -> None:
    profile, _ = full
    findings = {finding.rule: finding.status for finding in check(profile)}
    assert {"cpu", "memory", "process_memory"} <= {series.kind for series in profile.system.series}
    assert findings["OverallSystemUsage"] == "ok"
    assert findings["DeadRelu"] in ("ok", "issue")
    assert findings["VanishingGradient"] == "ok"


def test_recording_does_not_change_what_is_learned(pictures: Path, full: tuple[Profile, Path], tmp_path: Path) -> None:
    profile, _ = full
    plain = fit(config(pictures, tmp_path))
    assert [record.train_loss for record in plain.history] == pytest.approx(profile.learning.train_loss.tolist())


def test_a_training_run_has_the_cheap_recorder_by_default(pictures: Path, tmp_path: Path) -> None:
    settings = config(pictures, tmp_path)
    fit(settings, hooks=recorders_of(settings))
    profile = Profile.load(settings.output / "profile")
    assert (profile.operators, profile.tensors, profile.job.status) == ((), (), "Completed")
    assert recorders_of(settings.replace(profile="off")) == []


def test_a_failed_training_leaves_what_was_recorded(pictures: Path, tmp_path: Path) -> None:
    class Faulty(Recorder):
        def on_epoch(self, epoch: Any) -> None:
            super().on_epoch(epoch)
            raise TrainingError("the disk is gone")

    with pytest.raises(TrainingError, match="disk is gone"):
        fit(config(pictures, tmp_path), hooks=[Faulty(tmp_path / "profile", name="faulty")])
    profile = Profile.load(tmp_path / "profile")
    assert profile.job.status == "Failed"
    assert profile.steps.of("train").sum() == 8


def test_a_killed_run_leaves_a_readable_profile(tmp_path: Path) -> None:
    script = textwrap.dedent(f"""
        import os, signal
        from pathlib import Path
        from breedclf.training.hooks import EpochRecord
        from breedclf.profiling.recorder import Recorder
        recorder = Recorder(Path({str(tmp_path)!r}), name="killed")
        recorder.steps.phase("train", 1)
        for _ in range(5):
            recorder.steps.step(4)
        recorder.on_epoch(EpochRecord(1, 1.0, 1.0, 0.5, 10.0))
        os.kill(os.getpid(), signal.SIGKILL)
    """)
    assert subprocess.run([sys.executable, "-c", script], timeout=120, check=False).returncode == -9
    profile = Profile.load(tmp_path)
    assert (len(profile.steps), profile.job.status) == (5, "Incomplete")


def test_a_rule_may_stop_the_training(pictures: Path, tmp_path: Path) -> None:
    rule = ALL_RULES["ClassImbalance"].with_parameters({"threshold_imbalance": 0.5})
    with (
        pytest.raises(TrainingError, match="stopped by rule ClassImbalance after epoch 1: corgi|stopped by rule"),
        Recorder(tmp_path, stop_rules=[rule]) as recorder,
    ):
        fit(config(pictures, tmp_path), hooks=[recorder])
    assert len(recorder.profile().learning.train_loss) == 1


def test_a_container_that_forbids_sampling_is_noted_and_survived() -> None:
    class Forbidding:
        """A psutil that may read memory and nothing else."""

        def virtual_memory(self) -> Any:
            return namedtuple("memory", "percent")(42.0)

        def __getattr__(self, name: str) -> Any:
            raise PermissionError(f"{name}: not permitted")

    sampler = Sampler(system=Forbidding(), clock=FakeClock(100.0))
    sampler.start()
    sampler.stop()
    assert {series.kind for series in sampler.series(0.0)} == {"memory"}
    assert any("cpu can't be sampled here: PermissionError" in note for note in sampler.notes)


def test_a_long_run_is_sampled_more_coarsely_and_never_without_end() -> None:
    sampler = Sampler(most_samples=50, clock=FakeClock(100.0))
    for _ in range(500):
        sampler._sample()
    assert max(len(series.time) for series in sampler.series(0.0)) <= 51
    assert sampler.interval > 4


def test_work_is_counted_as_by_hand() -> None:
    counter = WorkCounter()
    with counter, torch.inference_mode():
        nn.functional.linear(torch.ones(8, 32), torch.ones(16, 32))
    assert sum(counter.flops.values()) == 2 * 8 * 32 * 16


def test_a_trace_ends_with_its_phase_even_when_steps_are_few() -> None:
    tracer = Tracer()
    for _ in range(4):
        tracer.before_step("train")
        torch.ones(4, 4) @ torch.ones(4, 4)
        tracer.after_step(1)
    tracer.stop()
    assert {"aten::matmul", "aten::mm"} <= {operator.name for operator in tracer.operators()}


def network(*layers: nn.Module) -> tuple[nn.Sequential, torch.optim.SGD]:
    model = nn.Sequential(*layers)
    return model, torch.optim.SGD(model.parameters(), lr=0.1)


def looks(model: nn.Sequential, optimizer: torch.optim.Optimizer, given: torch.Tensor, steps: int = 6) -> Profile:
    """Train a few steps with every one looked at."""
    watch = TensorWatch(every=1)
    watch.watch(model, optimizer)
    for step in range(steps):
        watch.due(step)
        optimizer.zero_grad()
        model(given).square().sum().backward()
        watch.after_backward()
        optimizer.step()
        watch.after_optimizer()
    watch.close()
    from breedclf.profiling.profile import JobInfo

    return Profile(job=JobInfo(name="looks", start=0.0, end=1.0), tensors=watch.series())


def named(profile: Profile) -> set[str]:
    return {finding.rule for finding in check(profile) if finding.status == "issue"} - {"ProfilerReport"}


def test_dead_relus_are_found_in_a_real_network() -> None:
    model, optimizer = network(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    nn.init.constant_(model[0].bias, -100.0)
    assert "DeadRelu" in named(looks(model, optimizer, torch.ones(16, 4)))


def test_saturated_tanhs_and_their_vanished_gradients_are_found() -> None:
    model, optimizer = network(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    nn.init.constant_(model[0].bias, 100.0)
    assert {"SaturatedActivation", "VanishingGradient"} <= named(looks(model, optimizer, torch.ones(16, 4)))


def test_weights_left_out_of_the_optimizer_are_found_unchanged() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 1))
    optimizer = torch.optim.SGD(model[1].parameters(), lr=1e-3)
    assert "UnchangedTensor" in named(looks(model, optimizer, torch.randn(16, 4)))


def test_an_exploding_learning_rate_is_found() -> None:
    model, _ = network(nn.Linear(4, 8), nn.Linear(8, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e6)
    assert "ExplodingTensor" in named(looks(model, optimizer, torch.randn(16, 4), steps=12))


def test_images_that_were_not_normalised_are_found() -> None:
    model, optimizer = network(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(1))
    model(torch.zeros(1, 3, 8, 8))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-9)
    assert "CheckInputImages" in named(looks(model, optimizer, torch.rand(4, 3, 8, 8) * 255))
    assert "CheckInputImages" not in named(looks(model, optimizer, torch.randn(4, 3, 8, 8)))


@pytest.fixture(autouse=True)
def _quiet() -> None:
    logging.getLogger("breedclf").setLevel(logging.WARNING)


def test_recording_of_nothing_is_empty_and_in_order() -> None:
    with Recorder(recording=Recording()) as recorder:
        pass
    profile = recorder.profile()
    assert (len(profile.steps), profile.job.status) == (0, "Completed")


def test_a_profile_without_a_place_does_not_stop_the_training(
    pictures: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    logging.getLogger("breedclf").propagate = True
    with Recorder(tmp_path / "file" / "profile") as recorder:
        fit(config(pictures, tmp_path), hooks=[recorder])
    assert recorder.profile().job.status == "Completed"
    assert "the profile can't be written" in caplog.text
