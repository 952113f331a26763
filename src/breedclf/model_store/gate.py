"""The gate: whether a model may become the live one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import Field

from breedclf.config.base import Settings
from breedclf.model_store.comparison import ModelComparison


class Gate(Settings):
    """What a model must fulfill before it is promoted; None leaves a check out."""

    baseline: float | None = Field(
        default=None,
        ge=0,
        lt=1,
        description="accuracy that the whole 95% interval must exceed (default: the share of the most frequent class)",
    )
    max_drop: float | None = Field(
        default=0.0,
        ge=0,
        le=1,
        description="refuse if the model is worse than the live one by more than this, beyond chance",
    )
    max_megabytes: float | None = Field(default=None, gt=0, description="largest size of the model directory")


@dataclass(frozen=True)
class GateCheck:
    """One check: its name, whether the model passed, and the figures by which it did or didn't."""

    name: str
    passed: bool
    detail: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return dict(vars(self))


def gate_checks(
    gate: Gate,
    *,
    accuracy: tuple[float, float, float] | None,
    most_frequent: float = 0.0,
    megabytes: float,
    against_live: ModelComparison | None,
) -> list[GateCheck]:
    """Check a model.

    Args:
        gate: the thresholds.
        accuracy: of the model, with the ends of its 95% interval; None if it wasn't measured.
        most_frequent: the share of the images that are of the most frequent class, from 0 to 1.
        megabytes: the size of the model directory.
        against_live: the live model compared with this one; None if there is none, or no images to compare on.
    """
    checks = []
    if accuracy is not None:
        share, low, high = accuracy
        baseline = most_frequent if gate.baseline is None else gate.baseline
        shown = f"{share:.1%} (95% interval {low:.1%} to {high:.1%}), baseline {baseline:.1%}"
        checks.append(GateCheck("accuracy", low > baseline, shown))
    if gate.max_drop is not None and against_live is not None:
        _, high = against_live.difference_interval
        worse = high < -gate.max_drop and against_live.p_value < 0.05
        checks.append(GateCheck("against the live model", not worse, against_live.verdict))
    if gate.max_megabytes is not None:
        shown = f"{megabytes:.1f} MB, at most {gate.max_megabytes:g} MB"
        checks.append(GateCheck("size", megabytes <= gate.max_megabytes, shown))
    return checks
