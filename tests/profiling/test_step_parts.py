"""The parts of a step never sum to more than the step, whatever is trained and however it is recorded."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from breedclf.config import TrainingConfig
from breedclf.profiling.profile import PARTS, Profile, Steps
from breedclf.profiling.recorder import recorders_of
from breedclf.profiling.report.summary import parts_of
from breedclf.profiling.step_recorder import StepRecorder
from breedclf.training.fit import fit
from tests.fakes import FakeClock
from tests.image_folders import write_noise

ROUNDING = 2e-6
MODES: dict[str, dict[str, Any]] = {
    "cached": {},
    "cached views": {"views": 2},
    "uncached": {"feature_cache": False},
    "uncached, augmented": {"feature_cache": False, "views": 3},
    "layer4": {"freeze": "layer4"},
    "layer4, accumulated": {"freeze": "layer4", "gradient_accumulation_steps": 2, "ema": 0.5},
    "nothing frozen": {"freeze": "none"},
}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_noise(tmp_path_factory.mktemp("images"), train=2, valid=1)


def settings(images: Path, folder: Path, **more: Any) -> dict[str, Any]:
    quick = {"architecture": "resnet18", "weights": "none", "epochs": 2, "batch_size": 2, "workers": 0, "seed": 0}
    return {"data": str(images), "output": str(folder / "out"), "cache_dir": str(folder / "cache"), **quick, **more}


def assert_parts_fit(steps: Steps) -> None:
    assert len(steps)
    assert steps.parts
    sums = np.sum([np.nan_to_num(column) for column in steps.parts.values()], axis=0)
    over = np.flatnonzero(sums > steps.duration + ROUNDING)
    reported = [(steps.phases[steps.phase[i]], i, float(sums[i]), float(steps.duration[i])) for i in over]
    assert not reported, f"(phase, step, sum of its parts, step): {reported}"


@pytest.mark.parametrize(
    ("mode", "recording"),
    [*((mode, "timers") for mode in MODES), *((mode, "full") for mode in ("cached", "uncached", "layer4"))],
)
def test_parts_fit_into_steps_in_every_mode(images: Path, tmp_path: Path, mode: str, recording: str) -> None:
    config = TrainingConfig(**settings(images, tmp_path, profile=recording, **MODES[mode]))
    fit(config, hooks=recorders_of(config))
    profile = Profile.load(tmp_path / "out" / "profile")
    assert_parts_fit(profile.steps)
    for phase in profile.steps.phases:
        assert sum(part.share for part in parts_of(profile, phase)) == pytest.approx(1)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="torchrun's processes need POSIX")
def test_parts_fit_into_steps_of_two_processes(images: Path, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import json, sys\n"
        "from breedclf import TrainingConfig\n"
        "from breedclf.training.fit import fit\n"
        "from breedclf.profiling.recorder import recorders_of\n"
        "for each in json.loads(sys.argv[1]):\n"
        "    fit(config := TrainingConfig(**each), hooks=recorders_of(config))\n"
    )
    folders = {name: tmp_path / name for name in ("uncached", "layer4")}
    ours = [
        settings(images, folder, profile="full", device="cpu", batch_norm="fixed", **MODES[name])
        for name, folder in folders.items()
    ]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    done = subprocess.run(
        [*command, str(program), json.dumps(ours)],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    for folder in folders.values():
        assert_parts_fit(Profile.load(folder / "out" / "profile").steps)


class LaggingEvent:
    """A CUDA event of a device that finishes its work in order, some time after it was asked to."""

    clock: FakeClock
    draw: random.Random
    device_time = 0.0

    def record(self) -> None:
        LaggingEvent.device_time = max(LaggingEvent.device_time, self.clock.now) + self.draw.random() * 3
        self.time = LaggingEvent.device_time

    def synchronize(self) -> None:
        pass

    def elapsed_time(self, other: LaggingEvent) -> float:
        return (other.time - self.time) * 1e3


@pytest.mark.parametrize("device", ["cpu", "gpu"])
@pytest.mark.parametrize("seed", range(20))
def test_parts_fit_into_steps_for_laps_anywhere(device: str, seed: int) -> None:
    clock, draw = FakeClock(100.0), random.Random(seed)
    LaggingEvent.clock, LaggingEvent.draw, LaggingEvent.device_time = clock, draw, 0.0
    recorder = StepRecorder(clock=clock, new_event=LaggingEvent if device == "gpu" else None)

    def laps() -> None:
        for _ in range(draw.randrange(4)):
            clock.advance(draw.random())
            recorder.lap(draw.choice(PARTS))

    for epoch in range(4):
        laps()  # of work between phases, which is no step's
        recorder.phase(draw.choice(["features", "train", "valid"]), epoch)
        for _ in range(draw.randrange(5)):
            laps()
            clock.advance(draw.random())
            recorder.step(1)
        laps()
        if draw.random() < 0.5:
            recorder.close_phase()
    recorder.close_phase()
    steps = recorder.steps(100.0)
    if len(steps) and steps.parts:
        assert_parts_fit(steps)
