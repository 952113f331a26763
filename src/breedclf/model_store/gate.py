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


@dataclass(frozen=True)
class Parity:
    """The predictions of a classifier loaded from the model directory, compared with those by which it was measured.

    Args:
        images: how many images were compared.
        difference: the largest of two probabilities of the same class and image, from 0 to 1.
        tolerance: how much may be due to rounding.
        other_classes: images with another best class, although the probabilities of both are farther apart than that.
    """

    images: int
    difference: float
    tolerance: float
    other_classes: int = 0


def gate_checks(
    gate: Gate,
    *,
    accuracy: tuple[float, float, float] | None,
    most_frequent: float = 0.0,
    megabytes: float,
    against_live: ModelComparison | None,
    not_compared: str = "",
    parity: Parity | None = None,
) -> list[GateCheck]:
    """Check a model.

    Args:
        gate: the thresholds.
        accuracy: of the model, with the ends of its 95% interval; None if it wasn't measured.
        most_frequent: the share of the images that are of the most frequent class, from 0 to 1.
        megabytes: the size of the model directory.
        against_live: the live model compared with this one; None if there is none, or no images to compare on.
        not_compared: why it isn't compared with the live model, if there is one.
        parity: the predictions of the model directory; None if they weren't compared.

    Example:
        >>> [check.passed for check in gate_checks(Gate(), accuracy=(0.94, 0.84, 0.98), most_frequent=0.5,
        ...                                        megabytes=45.0, against_live=None)]
        [True]
    """
    checks = []
    if accuracy is not None:
        checks.append(_accuracy(gate, accuracy, most_frequent))
    if gate.max_drop is not None and against_live is not None:
        passed = not is_worse(against_live, gate.max_drop)
        checks.append(GateCheck("against the live model", passed, against_live.verdict))
    elif not_compared:
        checks.append(GateCheck("against the live model", True, f"not compared: {not_compared}"))
    if parity is not None:
        checks.append(_parity(parity))
    if gate.max_megabytes is not None:
        shown = f"{megabytes:.1f} MB, at most {gate.max_megabytes:g} MB"
        checks.append(GateCheck("size", megabytes <= gate.max_megabytes, shown))
    return checks


def is_worse(against_live: ModelComparison, max_drop: float) -> bool:
    """Whether the second model is worse beyond chance, and by more than `max_drop`, from 0 to 1.

    Chance is judged by McNemar's exact test, and the size of the drop by the interval of the difference.
    """
    if against_live.difference >= 0 or against_live.better is None:
        return False
    _, high = against_live.difference_interval
    return max_drop == 0 or high < -max_drop


def _accuracy(gate: Gate, accuracy: tuple[float, float, float], most_frequent: float) -> GateCheck:
    share, low, high = accuracy
    what = f"baseline {most_frequent:.1%}, the share of the most frequent class"
    baseline = most_frequent
    if gate.baseline is not None:
        what, baseline = f"baseline {gate.baseline:.1%}", gate.baseline
    return GateCheck("accuracy", low > baseline, f"{share:.1%} (95% interval {low:.1%} to {high:.1%}), {what}")


def _parity(parity: Parity) -> GateCheck:
    passed = parity.difference <= parity.tolerance and not parity.other_classes
    differ = f", and {parity.other_classes} have another best class" if parity.other_classes else ""
    detail = (
        f"probabilities of {parity.images} images by the model directory differ by at most {parity.difference:.1g} "
        f"from those of the evaluation, {parity.tolerance:g} allowed{differ}"
    )
    return GateCheck("parity", passed, detail)
