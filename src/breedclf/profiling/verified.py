"""What came of trying advice: times before and after, with their spread, and what is worth keeping (pure)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

MIN_GAIN = 0.02


class Trial(BaseModel):
    """One change, tried: medians of interleaved repeats in seconds; the spread is half the interquartile range."""

    model_config = ConfigDict(frozen=True)

    name: str
    changes: dict[str, Any]
    before: float
    after: float
    before_spread: float
    after_spread: float
    repeats: int
    kept: bool
    note: str = ""

    @property
    def speedup(self) -> float:
        return self.before / self.after if self.after > 0 else 0.0


class Verification(BaseModel):
    """All trials of one session, and the changes that made it faster."""

    model_config = ConfigDict(frozen=True)

    trials: tuple[Trial, ...] = ()
    recommended: dict[str, Any] = Field(default_factory=dict)
    sentence: str = ""


def judge(
    name: str, changes: Mapping[str, Any], before: Sequence[float], after: Sequence[float], note: str = ""
) -> Trial:
    """Decide whether a change pays: faster in the median, beyond both spreads and a 2% gain.

    Example:
        >>> judge("workers = 2", {"workers": 2}, [10.0, 10.2, 10.1], [6.0, 6.2, 6.1]).kept
        True
        >>> judge("workers = 4", {"workers": 4}, [10.0, 10.2, 10.1], [10.0, 10.1, 10.1]).kept
        False
    """
    first, second = np.asarray(before), np.asarray(after)
    gain = float(np.median(first) - np.median(second))
    spread = max(_spread(first), _spread(second))
    return Trial(
        name=name,
        changes=dict(changes),
        before=float(np.median(first)),
        after=float(np.median(second)),
        before_spread=_spread(first),
        after_spread=_spread(second),
        repeats=len(second),
        kept=gain > max(spread, MIN_GAIN * float(np.median(first))),
        note=note,
    )


def conclude(trials: Sequence[Trial], combined: Trial | None = None) -> Verification:
    """The changes to recommend: all that paid together when that is fastest, else the best alone.

    Example:
        >>> one = judge("a", {"workers": 2}, [10.0, 10.1], [6.0, 6.1])
        >>> conclude([one]).recommended
        {'workers': 2}
    """
    kept = [trial for trial in (*trials, *([combined] if combined else [])) if trial.kept]
    everything = (*trials, *([combined] if combined else []))
    if not kept:
        said = "No change made the run measurably faster: keep the settings." if trials else "No advice applied to try."
        return Verification(trials=everything, sentence=said)
    best = min(kept, key=lambda trial: trial.after / trial.before)
    return Verification(
        trials=everything,
        recommended=best.changes,
        sentence=(
            f"{best.name}: {best.before:.2f} s -> {best.after:.2f} s ({best.speedup:.2f}x), n = "
            f"{best.repeats}, measured."
        ),
    )


def _spread(values: Any) -> float:
    low, high = np.percentile(values, [25, 75])
    return float(high - low) / 2
