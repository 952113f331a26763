"""A journey that is interrupted or killed continues, ends with the same result, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from breedclf import LocalBackend, ModelStore
from breedclf.journey.record import JourneyRecord
from tests.waiting import until


class Command:
    """`breedclf journey` in processes of its own, with a home folder and an output."""

    def __init__(self, images: Path, folder: Path) -> None:
        self.output, self.store, self.home = folder / "out", folder / "store", folder / "home"
        self._words = [
            sys.executable, "-m", "breedclf", "journey", str(images), "--architecture", "resnet18", "--weights", "none",
            "--epochs", "1,2", "--no-verify", "--output", str(self.output), "--store", str(self.store), "--json",
        ]  # fmt: skip
        self._environment = {**os.environ, "BREEDCLF_HOME": str(self.home)}

    def start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self._words, env=self._environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def end(self, step: str, number: signal.Signals) -> tuple[int, str]:
        """Run until a step is in progress, and send the signal; returns the exit code and what was on stderr."""
        with self.start() as process:
            until(lambda: self._runs(step) or process.poll() is not None)
            process.send_signal(number)
            _, errors = process.communicate()
        return process.returncode, errors

    def run(self) -> dict[str, Any]:
        with self.start() as process:
            written, errors = process.communicate()
        assert process.returncode == 0, errors
        found: dict[str, Any] = json.loads(written)
        return found

    def _runs(self, step: str) -> bool:
        done = JourneyRecord.load(self.output).step(step)
        return done is not None and done.status == "InProgress"


def facts(document: dict[str, Any], command: Command) -> dict[str, Any]:
    steps = {step["name"]: step for step in document["steps"]}
    card = json.loads((command.output / "model" / "breedclf.json").read_text())
    return {
        "best": document["best"],
        "accuracy": document["accuracy"],
        "weights": card["weights_sha256"],
        "predictions": [each["predictions"] for each in steps["predict"]["values"]["images"]],
        "statuses": {name: step["status"] for name, step in steps.items()},
    }


@pytest.mark.slow
def test_the_result_is_the_same_and_nothing_is_left(images: Path, tmp_path: Path) -> None:
    undisturbed, disturbed = Command(images, tmp_path / "a"), Command(images, tmp_path / "b")
    assert disturbed.end("tune", signal.SIGKILL)[0] == -signal.SIGKILL
    code, errors = disturbed.end("profile", signal.SIGINT)
    assert code == 130
    assert "interrupted in step profile: repeat the command to continue there" in errors
    assert disturbed.end("deploy", signal.SIGKILL)[0] == -signal.SIGKILL
    document = disturbed.run()

    assert facts(document, disturbed) == facts(undisturbed.run(), undisturbed)
    record = ModelStore(disturbed.store).record("images")
    assert ([each.version for each in record.versions], record.aliases, record.endpoint) == ([1], {"live": 1}, None)
    assert len(list((disturbed.store / "objects").iterdir())) == 1
    assert not [path for path in disturbed.output.rglob(".*") if path.name.endswith(".part") or ".model-" in path.name]
    until(lambda: not LocalBackend(disturbed.home).list_endpoints())
