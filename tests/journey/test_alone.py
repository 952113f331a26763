"""Every step prints the command and the Python line that do it alone: they work as they are printed."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import pytest

import breedclf
from breedclf import Categorical, Continuous, JourneySettings, TrainingConfig
from breedclf.cli import main
from breedclf.journey.record import JourneyRecord, Outcome, StepRecord
from breedclf.journey.step import JourneyContext
from breedclf.journey.steps.best import Best
from breedclf.journey.steps.shown import command, config_python, space_flags, space_python
from breedclf.tuning.space import Parameter
from tests.journey.conftest import MakeJourney

_DECIDED_BY_A_PERSON = ("gate",)
"""Its lines need a version that the reader chooses."""


def test_settings_as_flags_and_in_python() -> None:
    training = TrainingConfig(data="my dogs", seed=3, calibration=False, labels="labels.csv", epochs=3)
    space: dict[str, Parameter] = {"learning_rate": Continuous(1e-4, 0.1, "log"), "batch_size": Categorical(32, 64)}
    assert eval(config_python(training), vars(breedclf)) == training
    assert eval(space_python(space), {**vars(breedclf), "Continuous": Continuous, "Categorical": Categorical}) == space
    assert space_flags(space) == {"learning_rate": "0.0001:0.1:log", "batch_size": "32,64"}
    assert command("breedclf", "tune", "my dogs", flags={"seed": 3, "calibration": False, "labels": None}) == (
        "breedclf tune 'my dogs' --seed 3 --no-calibration"
    )


def test_a_variable_before_a_command_is_one_for_the_shell() -> None:
    settings = JourneySettings(training=TrainingConfig(data="dogs"), output=Path("Läufe/my dogs"))
    outcome = Outcome(headline="", values={"name": "journey-1"})
    tuned = StepRecord(name="tune", status="Completed", inputs={}, seconds=1.0, outcome=outcome, python="", command="")
    context = JourneyContext(settings, None, JourneyRecord(steps=(tuned,)))
    command_line = Best().alone(context).command
    assert command_line.startswith("BREEDCLF_HOME='"), "in quotes, the name would be that of a command"
    shown = subprocess.run(
        ["sh", "-c", command_line.replace("breedclf tune", "env #")], capture_output=True, text=True, check=True
    )
    assert "BREEDCLF_HOME=Läufe/my dogs\n" in shown.stdout


@pytest.mark.slow
def test_each_printed_line_works(journey: MakeJourney, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BREEDCLF_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    made = journey(space={"learning_rate": Categorical(0.005, 0.01)}, keep=True)
    made.run()
    record = JourneyRecord.load(made.settings.output)
    names = {name: getattr(breedclf, name) for name in breedclf.__all__}
    steps = [step for step in record.steps if step.name not in _DECIDED_BY_A_PERSON]
    deleted = next(step for step in steps if step.name == "clean-up")

    for step in [deleted, *(step for step in steps if step is not deleted), deleted]:
        words = shlex.split(step.command)
        with monkeypatch.context() as patch:
            while "=" in words[0]:
                patch.setenv(*words.pop(0).split("=", 1))
            assert words[0] == "breedclf"
            assert main([*words[1:], "--quiet"]) in ((0, 1) if step.name == "review" else (0,)), step.command

    for step in [*steps[:-1], deleted]:
        eval(step.python, names)
    assert os.listdir(tmp_path / "home" / "endpoints") == []  # noqa: PTH208
