"""Charts of a search: outcomes in order, learning curves, hyperparameters and outcomes, and what matters."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from breedclf.reporting import formats
from breedclf.reporting.charts import Bar, Dimension, Series, bar_chart, line_chart, parallel_coordinates
from breedclf.tuning.analysis import Importance, accuracy_interval
from breedclf.tuning.space import Categorical, Parameter
from breedclf.tuning.study import Study
from breedclf.tuning.table import short_name, value_text
from breedclf.tuning.trials import Trial, best_first, best_so_far, ranked

_CURVES_UP_TO = 12


def history_chart(study: Study) -> Markup:
    """The objective of each training job, and the best so far."""
    request = study.request
    counted = ranked(study.trials)
    so_far = best_so_far(study.trials, request.direction)
    series = [
        Series("training job", [trial.index + 1 for trial in counted], [trial.objective or 0.0 for trial in counted]),
        Series(
            "best so far",
            [trial.index + 1 for trial, value in zip(study.trials, so_far, strict=True) if value is not None],
            [value for value in so_far if value is not None],
        ),
    ]
    return line_chart(
        f"{request.objective} of each training job",
        series,
        x_label="training job",
        y_label=request.objective,
        whole_x=True,
        full=True,
        note=_left_out(study),
    )


def curves_chart(study: Study) -> Markup | None:
    """The objective by epoch of the best training jobs; None if none has recorded more than one epoch."""
    objective = study.request.objective
    curves = [trial for trial in study.trials if len(trial.history) > 1]
    if not curves:
        return None
    shown = curves if len(curves) <= _CURVES_UP_TO else best_first(curves, study.request.direction)[:_CURVES_UP_TO]
    lines = [Series(short_name(trial), list(range(1, len(trial.history) + 1)), list(trial.history)) for trial in shown]
    return line_chart(
        f"{objective} by epoch",
        lines,
        x_label="epoch",
        y_label=objective,
        whole_x=True,
        full=True,
        note="" if len(shown) == len(curves) else f"The best {len(shown)} of {len(curves)} are shown.",
    )


def parallel_chart(study: Study, best: Trial | None) -> Markup:
    """One line per training job, from its hyperparameters to its outcome."""
    request = study.request
    dimensions = [_dimension(name, parameter) for name, parameter in request.space.items()]
    dimensions.append(Dimension("objective", request.objective))
    counted = ranked(study.trials)
    rows = [
        {
            **{name: _axis_value(trial, name, parameter) for name, parameter in request.space.items()},
            "objective": trial.objective or 0.0,
        }
        for trial in counted
    ]
    highlight = next((index for index, trial in enumerate(counted) if trial is best), None)
    return parallel_coordinates(
        "Hyperparameters and outcome",
        dimensions,
        rows,
        highlight=highlight,
        tips=[trial.name for trial in counted],
        smaller_is_better=request.direction == "minimize",
    )


def importance_chart(study: Study, found: Sequence[Importance]) -> Markup:
    """The main effect of each hyperparameter."""
    return bar_chart(
        "Main effect of each hyperparameter",
        [Bar(each.name, each.share) for each in found],
        format=formats.percent,
        maximum=1.0,
        full=True,
        note=f"From {len(ranked(study.trials))} training jobs, corrected for chance; interactions between "
        "hyperparameters aren't included.",
    )


def accuracy_chart(study: Study, count: int) -> Markup:
    """Validation accuracies on `count` images with their confidence intervals, best trial first."""
    best = study.best
    bars = []
    for trial in best_first(ranked(study.trials), study.request.direction):
        if (accuracy := trial.metrics.get("valid_accuracy")) is not None:
            low, high = accuracy_interval(accuracy, count)
            bars.append(Bar(short_name(trial), accuracy, low, high, tone="ok" if trial is best else ""))
    return bar_chart(
        "Validation accuracy with 95% confidence intervals", bars, format=formats.percent, maximum=1.0, full=True
    )


def _dimension(name: str, parameter: Parameter) -> Dimension:
    if isinstance(parameter, Categorical):
        return Dimension(name, name)
    return Dimension(name, name, log=parameter.scaling == "log")


def _axis_value(trial: Trial, name: str, parameter: Parameter) -> float | int | str:
    """A trial's value on an axis: a name for choices, a number for ranges."""
    value = trial.hyperparameters[name]
    return value_text(value) if isinstance(parameter, Categorical) else value


def _left_out(study: Study) -> str:
    left_out = sum(trial.is_over for trial in study.trials) - len(ranked(study.trials))
    return f"{left_out} without an objective (failed, stopped, or none printed) are omitted." if left_out else ""
