"""`JourneyResult`: what a journey found, also read from its folder later."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from breedclf.errors import ConfigError
from breedclf.files.paths import StrPath, user_path
from breedclf.journey.record import JourneyRecord, StepRecord
from breedclf.reporting import formats
from breedclf.reporting.blocks import Tile, table, tiles
from breedclf.reporting.notebook import notebook_view
from breedclf.text.html_repr import html_repr

PAGE_FILE = "journey.html"
MODEL_FOLDER = "model"


@dataclass(frozen=True)
class JourneyResult:
    """What a journey found.

    Args:
        steps: all steps that have run, in order.
        best: the hyperparameters of the best trial.
        accuracy: on the test split, from 0 to 1; None if it wasn't evaluated.
        model: the model directory.
        report: the page.
        seconds: of this run; of all steps if it was loaded.
    """

    steps: tuple[StepRecord, ...]
    best: Mapping[str, Any]
    accuracy: float | None
    model: Path
    report: Path
    seconds: float

    @classmethod
    def load(cls, folder: StrPath) -> Self:
        """Read what a journey has found so far from its output folder.

        Raises:
            ConfigError: there is no journey in it, or its record is damaged.
        """
        path = user_path(folder, "folder")
        record = JourneyRecord.load(path)
        if not record.steps:
            raise ConfigError(f"{path} has no journey: give the output folder of one")
        return cls(**_found(record, path), seconds=sum(step.seconds for step in record.steps))

    @property
    def refused(self) -> bool:
        """Whether the gate refused the model."""
        return any(step.status == "Refused" for step in self.steps)

    def to_dict(self) -> dict[str, Any]:
        """The fields of `breedclf journey --json`."""
        return {
            "steps": [
                {
                    "name": step.name,
                    "status": step.status,
                    "seconds": round(step.seconds, 3),
                    "report": step.outcome.report,
                    "headline": step.outcome.headline,
                    "values": step.outcome.values,
                    "python": step.python,
                    "command": step.command,
                }
                for step in self.steps
            ],
            "best": dict(self.best),
            "accuracy": self.accuracy,
            "model": str(self.model),
            "report": str(self.report),
            "seconds": round(self.seconds, 3),
        }

    @html_repr
    def _repr_html_(self) -> str:
        figures = [figure for step in self.steps for figure in step.outcome.figures[:1]]
        rows = [[step.name, step.status, formats.seconds(step.seconds), step.outcome.headline] for step in self.steps]
        return notebook_view(
            f"Journey: {self.report}",
            tiles(Tile(figure.label, figure.value, figure.note) for figure in figures),
            table("", ["step", "status", "duration", "result"], rows),
        )


def result_of(record: JourneyRecord, folder: Path, seconds: float) -> JourneyResult:
    """The result of a run, from what it recorded."""
    return JourneyResult(**_found(record, folder), seconds=seconds)


def _found(record: JourneyRecord, folder: Path) -> dict[str, Any]:
    values = {step.name: step.outcome.values for step in record.steps}
    return {
        "steps": record.steps,
        "best": values.get("tune", {}).get("best", {}).get("hyperparameters", {}),
        "accuracy": values.get("evaluate", {}).get("accuracy"),
        "model": folder / MODEL_FOLDER,
        "report": folder / PAGE_FILE,
    }
