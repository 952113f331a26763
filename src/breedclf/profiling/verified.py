"""The outcome of trying advice: times before and after, their spread, and which changes pay off (pure functions)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from breedclf.errors import ConfigError, ProfileError
from breedclf.files.disk import write_atomic

MIN_GAIN = 0.02
MIN_REPEATS = 5
FILE_NAME = "verification.json"
FAILED = "could not be run: "


def check_repeats(repeats: int) -> None:
    """Check the number of runs per variant.

    Raises:
        ConfigError: there are fewer than 5.
    """
    if repeats < MIN_REPEATS:
        raise ConfigError(f"repeats={repeats}: a comparison needs at least {MIN_REPEATS}")


class Trial(BaseModel):
    """One change and its measurements: medians of interleaved runs in seconds; spread is half the interquartile range.

    `speedup` is the median over pairs of consecutive runs, which cancels out drift of the machine; it is 0 if the
    change couldn't be tried.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True)

    name: str
    changes: dict[str, Any]
    before: float
    after: float
    before_spread: float
    after_spread: float
    speedup: float
    repeats: int
    kept: bool
    note: str = ""


class Verification(BaseModel):
    """All trials of one session, the recommended changes, and their speedup.

    `images` is the maximum number of images of each split that the runs trained on; None if nothing was measured.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True)

    trials: tuple[Trial, ...] = ()
    recommended: dict[str, Any] = Field(default_factory=dict)
    speedup: float = 1.0
    sentence: str = ""
    images: int | None = None

    def save(self, folder: Path) -> Path:
        """Write `verification.json` into a profile's folder."""
        write_atomic(folder / FILE_NAME, self.model_dump_json())
        return folder / FILE_NAME

    @classmethod
    def load(cls, folder: Path) -> Self | None:
        """What was verified of the profile in a folder; None if nothing was.

        Raises:
            ProfileError: the file is damaged.
        """
        try:
            return cls.model_validate_json((folder / FILE_NAME).read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as error:
            raise ProfileError(f"{folder / FILE_NAME} can't be read: {error}") from error


def runs_needed(changes: int, repeats: int) -> int:
    """The most runs that verifying this many changes takes: all alone, the best together, and one again.

    Example:
        >>> runs_needed(changes=3, repeats=5)
        41
    """
    if changes == 0:
        return 0
    return 1 + repeats * (changes + 1) + (4 * repeats if changes > 1 else 0)


def images_within(seconds: float, runs: int, tried: tuple[int, float], *, most: int) -> int | None:
    """How many images of each split a run may train on, so that all runs take about `seconds`.

    A run is taken to be in proportion to its images, which it is at most: a part of it is the same for any number.

    Args:
        seconds: for all runs.
        runs: how many there are.
        tried: the smallest number of images, and the seconds of a run on them.
        most: the answer isn't above it.

    Returns:
        The number; None if even the smallest one takes more than twice as long.

    Example:
        >>> images_within(60, runs=30, tried=(8, 0.5), most=256)
        32
        >>> images_within(60, runs=30, tried=(8, 3.0), most=256), images_within(60, runs=30, tried=(8, 5.0), most=256)
        (8, None)
    """
    smallest, each = tried
    share = seconds / (runs * each)
    return None if share < 0.5 else min(most, max(smallest, int(smallest * share)))


def judge(
    name: str, changes: Mapping[str, Any], before: Sequence[float], after: Sequence[float], note: str = ""
) -> Trial:
    """Decide whether a change pays off: the median gain over pairs of runs exceeds its spread and 2%.

    Args:
        before: seconds without the change, in order.
        after: seconds with it; each run is adjacent to its counterpart in `before`.

    Example:
        >>> judge("workers = 2", {"workers": 2}, [10.0, 10.2, 10.1], [6.0, 6.2, 6.1]).kept
        True
        >>> judge("workers = 4", {"workers": 4}, [10.0, 10.2, 10.1], [10.0, 10.1, 10.1]).kept
        False
    """
    pairs = min(len(before), len(after))
    first, second = np.asarray(before)[:pairs], np.asarray(after)[:pairs]
    gains = first - second
    return Trial(
        name=name,
        changes=dict(changes),
        before=float(np.median(first)),
        after=float(np.median(second)),
        before_spread=_spread(first),
        after_spread=_spread(second),
        speedup=float(np.median(first / second)),
        repeats=pairs,
        kept=bool(np.median(gains) > max(_spread(gains), MIN_GAIN * np.median(first))),
        note=note,
    )


def conclude(trials: Sequence[Trial], combined: Trial | None = None) -> Verification:
    """Recommend changes: all that paid off together if that is fastest, otherwise the best single one.

    Example:
        >>> one = judge("a", {"workers": 2}, [10.0, 10.1], [6.0, 6.1])
        >>> conclude([one]).recommended
        {'workers': 2}
    """
    kept = [trial for trial in (*trials, *([combined] if combined else [])) if trial.kept]
    everything = (*trials, *([combined] if combined else []))
    if not kept:
        sentence = "No change made the run measurably faster: keep the settings."
        return Verification(trials=everything, sentence=sentence if trials else "There was no advice to try.")
    best = max(kept, key=lambda trial: trial.speedup)
    return Verification(
        trials=everything, recommended=best.changes, speedup=best.speedup, sentence=f"{_claim(best)}, measured."
    )


def confirm(concluded: Verification, again: Trial) -> Verification:
    """Update a conclusion after measuring its recommendation again: with the new figures, or without it.

    Example:
        >>> once = conclude([judge("a", {"workers": 2}, [10.0, 10.1], [6.0, 6.1])])
        >>> confirm(once, judge("a", {"workers": 2}, [10.0, 10.1], [10.0, 10.1])).recommended
        {}
    """
    (best, *_) = (trial for trial in concluded.trials if trial.changes == concluded.recommended)
    confirmation = again.model_copy(update={"note": again.note or "best change, measured again"})
    trials = (*concluded.trials, confirmation)
    if again.kept:
        sentence = f"{_claim(again)}, measured again after selection."
        return concluded.model_copy(update={"trials": trials, "speedup": again.speedup, "sentence": sentence})
    if is_short(again, best.repeats):
        sentence = f"{_claim(best)}: faster, but there was no time to measure it again. Keep the settings."
        return Verification(trials=trials, sentence=sentence)
    sentence = f"{_claim(again)}: faster at first, but not when measured again. Keep the settings."
    return Verification(trials=trials, sentence=sentence)


def is_short(trial: Trial, repeats: int) -> bool:
    """Whether there was no time for all runs of a change; one that couldn't be run needs no more."""
    return trial.repeats < repeats and not trial.note.startswith(FAILED)


def curtailed(found: Verification, *, changes: int, repeats: int) -> Verification:
    """The same, whose sentence says how much was measured when the time was over; unchanged if it was all.

    Args:
        found: the outcome, whose first trials are those of each change alone.
        changes: how many were to be measured.
        repeats: runs of each that were to be measured.

    Example:
        >>> short = judge("a", {"workers": 2}, [10.0], [6.0]).model_copy(update={"kept": False})
        >>> curtailed(conclude([short]), changes=1, repeats=5).sentence
        'No change is recommended: the time was over when 0 of 1 changes had been run 5 times.'
    """
    whole = changes - sum(is_short(trial, repeats) for trial in found.trials[:changes])
    if not any(is_short(trial, repeats) for trial in found.trials):
        return found
    told = f"he time was over when {whole} of {changes} changes had been run {repeats} times."
    measured = whole == changes or any(trial.kept for trial in found.trials)
    sentence = f"{found.sentence} T{told}" if measured else f"No change is recommended: t{told}"
    return found.model_copy(update={"sentence": sentence})


def _claim(trial: Trial) -> str:
    return f"{trial.name}: {trial.before:.2f} s -> {trial.after:.2f} s ({trial.speedup:.2f}x), n = {trial.repeats}"


def _spread(values: Any) -> float:
    low, high = np.percentile(values, [25, 75])
    return float(high - low) / 2
