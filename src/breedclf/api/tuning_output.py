"""What a tuning job shows: its progress, its rows as a DataFrame, and why it failed."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from breedclf.api.tuning_drivers import OnChange
from breedclf.errors import MissingExtraError
from breedclf.runtime.progress import show_line
from breedclf.tuning.study import Study
from breedclf.tuning.table import LiveTable, TrialLines

if TYPE_CHECKING:
    import pandas

Progress = bool | Callable[[Study], None] | None

log: logging.Logger = logging.getLogger(__name__)


def dataframe_of(rows: Sequence[Mapping[str, Any]]) -> pandas.DataFrame:
    """The rows as a pandas DataFrame; times are UTC.

    Raises:
        MissingExtraError: pandas isn't installed.
    """
    try:
        import pandas
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            "dataframe() needs pandas, which is not installed: pip install pandas, or use rows()"
        ) from error
    frame = pandas.DataFrame(rows)
    for column in ("TrainingStartTime", "TrainingEndTime"):
        if column in frame:
            frame[column] = pandas.to_datetime(frame[column], unit="s", utc=True)
    return frame


def failure_message(study: Study) -> str:
    """Why a search ended without a completed trial."""
    reasons = [trial.failure_reason for trial in study.trials if trial.failure_reason]
    first = f"; the first failure: {reasons[0]}" if reasons and reasons[0] not in (study.reason or "") else ""
    return (
        f"tuning job {study.request.name!r}: none of its {len(study.trials)} trials completed ({study.reason}){first}"
    )


def change_handler(progress: Progress) -> OnChange:
    """The function to call with each changed study; None chooses a table on a terminal, and lines elsewhere."""
    if callable(progress):
        return progress
    if progress is None and not sys.stderr.isatty():
        return TrialLines(partial(show_line, log))
    return (lambda _study: None) if progress is False else LiveTable(sys.stderr, in_place=sys.stderr.isatty())
