"""Tables of trials: as text, and as a live table that is updated in place while a search runs."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TextIO

from breedclf.reporting.blocks import Column
from breedclf.tuning.confirmation import Confirmation, ConfirmedTrial
from breedclf.tuning.space import Categorical, Parameter, Value
from breedclf.tuning.study import Study
from breedclf.tuning.trials import SeedRun, Trial

_RUNNING_SHOWN = 12


def rows_of(study: Study) -> list[dict[str, Any]]:
    """One row per trial with SageMaker's column names; times are seconds since 1970."""
    return [
        {
            **{name: trial.hyperparameters[name] for name in study.request.space},
            "TrainingJobName": trial.name,
            "TrainingJobStatus": trial.status,
            "FinalObjectiveValue": trial.objective,
            "TrainingStartTime": trial.started,
            "TrainingEndTime": trial.ended,
            "TrainingElapsedTimeSeconds": trial.seconds,
        }
        for trial in study.trials
    ]


def trial_table(study: Study, *, most: int | None = None) -> str:
    """Format trials as text, with the best one marked; with `most`, only the last ones."""
    request = study.request
    best = study.best
    head = ["", "trial", "status", *request.space, request.objective, "accuracy", "seconds"]
    body = [_cells(trial, request.space, best) for trial in study.trials]
    shown = body if most is None or len(body) <= most else body[-most:]
    widths = [max(len(row[column]) for row in [head, *shown]) for column in range(len(head))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in [head, *shown]]
    return "\n".join(line.rstrip() for line in lines)


def summary_line(study: Study) -> str:
    """Progress of the search in one line."""
    over = sum(trial.is_over for trial in study.trials)
    failed = sum(trial.status == "Failed" for trial in study.trials)
    best = study.best
    parts = [f"tuning job {study.request.name}: {study.status}", f"{over} of {study.request.job_count} trials done"]
    if failed:
        parts.append(f"{failed} failed")
    if study.seed_runs and not study.is_over:
        parts.append(f"{sum(run.is_over for run in study.seed_runs)} of {len(study.seed_runs)} runs with other seeds")
    if best is not None:
        values = ", ".join(f"{name} {value_text(value)}" for name, value in best.hyperparameters.items())
        parts.append(f"best {study.request.objective} {best.objective:.4f} ({values})")
    return "; ".join(parts)


def confirmation_line(confirmation: Confirmation) -> str:
    """What came of the runs with other seeds, in one line."""
    others = ", ".join(confirmation.level_with)
    verdict = f"level with {others}" if others else "significantly better than the other confirmed trials"
    best = next(trial for trial in confirmation.trials if trial.name == confirmation.best)
    return f"with {len(confirmation.seeds)} other seeds: {mean_text(best)}, {verdict}"


def mean_text(trial: ConfirmedTrial) -> str:
    """The mean and the standard deviation of a trial over other seeds."""
    if trial.mean is None:
        return "no run completed"
    return f"{trial.mean:.4f}" + ("" if trial.spread is None else f" ± {trial.spread:.4f}")


class LiveTable:
    """Shows a search on a stream: updated in place on a terminal, otherwise one line per finished trial."""

    def __init__(self, stream: TextIO, *, in_place: bool) -> None:
        self._stream = stream
        self._in_place = in_place
        self._lines = 0
        self._shown = ""
        self._report_ended = TrialLines(lambda line: stream.write(f"{line}\n"))

    def __call__(self, study: Study) -> None:
        text = f"{trial_table(study, most=_RUNNING_SHOWN)}\n{summary_line(study)}"
        if self._in_place:
            width = shutil.get_terminal_size().columns - 1  # a wrapped line would take two lines
            text = "\n".join(line[:width] for line in text.splitlines())
        if self._in_place and text != self._shown:
            back = f"\x1b[{self._lines}A\x1b[J" if self._lines else ""
            self._stream.write(f"{back}{text}\n")
            self._lines = text.count("\n") + 1
        elif not self._in_place:
            self._report_ended(study)
        self._shown = text
        self._stream.flush()


class TrialLines:
    """Writes a line for each finished trial, once."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write
        self._written: set[str] = set()

    def __call__(self, study: Study) -> None:
        for trial in study.runs:
            if trial.is_over and trial.name not in self._written:
                self._written.add(trial.name)
                self._write(trial_line(trial, study))


def trial_line(trial: Trial, study: Study) -> str:
    """Format a trial as one line, with the reason if it failed."""
    values = "  ".join(f"{name} {value_text(value)}" for name, value in trial.hyperparameters.items())
    outcome = "no objective" if trial.objective is None else f"{study.request.objective} {trial.objective:.4f}"
    if trial.status != "Completed":
        outcome = trial.failure_reason or trial.note or "no reason given"
    position = f"{trial.index + 1}/{study.request.job_count}"
    if isinstance(trial, SeedRun):
        values, position = f"seed {trial.seed}  {values}", "again"
    return f"{position:>6}  {trial.name}  {trial.status}  {values}  {outcome}"


def trial_columns(space: Mapping[str, Parameter]) -> list[Column]:
    """A column of a report's table for each hyperparameter."""
    return [Column(name, not isinstance(each, Categorical), value_text) for name, each in space.items()]


def value_text(value: Value) -> str:
    """Format a hyperparameter."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def short_name(trial: Trial) -> str:
    """The number of a trial, from 1, and its hyperparameters."""
    values = " · ".join(value_text(value) for value in trial.hyperparameters.values())
    return f"{trial.index + 1}: {values}"


def _cells(trial: Trial, names: Sequence[str] | dict[str, Any], best: Trial | None) -> list[str]:
    accuracy = trial.metrics.get("valid_accuracy")
    return [
        "*" if trial is best else "",
        trial.name,
        trial.status,
        *(value_text(trial.hyperparameters[name]) for name in names),
        "" if trial.objective is None else f"{trial.objective:.4f}",
        "" if accuracy is None else f"{accuracy:.1%}",
        "" if trial.seconds is None else f"{trial.seconds:.1f}",
    ]
