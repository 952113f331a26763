"""The gate of a journey: what it compares with, and that nothing runs again because the model became live."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from breedclf import ModelStore, TrainingConfig
from breedclf.journey.record import JourneyRecord, Outcome, StepRecord
from breedclf.journey.settings import JourneySettings
from breedclf.journey.step import JourneyContext
from breedclf.journey.steps.gate import GateStep
from tests.model_store.networks import CHECKERS, STRIPES, write_images, write_network


def _done(name: str, values: Mapping[str, Any]) -> StepRecord:
    outcome = Outcome(headline="Done.", values=dict(values))
    return StepRecord(name=name, status="Completed", inputs={}, seconds=0.0, outcome=outcome, python="", command="")


def _context(folder: Path, data: Path, digest: str) -> JourneyContext:
    """A journey whose model is in place and evaluated."""
    measured = {"accuracy": 0.5, "accuracy_interval": [0.2, 0.8], "count": 6, "most_frequent": 0.1}
    settings = JourneySettings(training=TrainingConfig(data=data), output=folder, store=folder / "store", name="dogs")
    steps = (_done("best", {"digest": digest}), _done("evaluate", measured))
    return JourneyContext(settings, None, JourneyRecord(steps=steps))


def test_the_gate_of_a_journey(tmp_path: Path) -> None:
    data, store, step = write_images(tmp_path / "set"), ModelStore(tmp_path / "out/store"), GateStep()
    old = store.add(write_network(tmp_path / "old/model", CHECKERS), name="dogs")
    store.promote("dogs", old.version)
    model = write_network(tmp_path / "out/model", STRIPES)
    digest = ModelStore(tmp_path / "elsewhere").add(model, name="dogs").digest
    context = _context(tmp_path / "out", data, digest)

    inputs, outcome = step.inputs(context), step.run(context)
    checks = {check["name"]: check for check in outcome.values["checks"]}
    assert outcome.status == "Completed" and list(checks) == ["accuracy", "against the live model", "parity"]
    assert "3 mended, 3 broken" in checks["against the live model"]["detail"]
    assert outcome.report == "gate/report.html" and (tmp_path / "out" / outcome.report).is_file()

    store.promote("dogs", store.add(model, name="dogs").version)
    assert step.inputs(context) == inputs, "nothing changed but that this model is live"
    again = {check["name"]: check["detail"] for check in step.run(context).values["checks"]}
    assert again["against the live model"] == "not compared: this model is version 2, which is live"

    store.promote("dogs", store.add(write_network(tmp_path / "new/model", STRIPES, seed=1), name="dogs").version)
    assert step.inputs(context) != inputs, "another model is live"


def test_a_refusal_says_why_and_what_stays_live(tmp_path: Path) -> None:
    data = write_images(tmp_path / "set", test=1)
    write_network(tmp_path / "out/model", STRIPES)
    context = _context(tmp_path / "out", data, "0" * 64)
    context.settings = context.settings.replace(gate={"baseline": 0.9})
    outcome = GateStep().run(context)
    assert outcome.status == "Refused"
    assert outcome.headline == (
        "The gate refuses the model: accuracy: 50.0% (95% interval 20.0% to 80.0%), baseline 90.0%. No model is live."
    )
