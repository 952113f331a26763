"""The HTML report about a search: its result, history, the importance of parameters, and every training job."""

from __future__ import annotations

from datetime import UTC, datetime

from markupsafe import Markup

from breedclf._version import __version__
from breedclf.config import TrainingConfig
from breedclf.reporting import Section, formats, render_page
from breedclf.reporting.blocks import Column, Tile, Tone, bullets, callout, details, facts, table, tiles
from breedclf.reporting.charts import (
    Bar,
    Dimension,
    Series,
    bar_chart,
    line_chart,
    parallel_coordinates,
)
from breedclf.tuning.analysis import accuracy_interval, importances, level_with_best
from breedclf.tuning.confirmation_report import confirmation_section
from breedclf.tuning.space import Categorical, Parameter
from breedclf.tuning.study import Study
from breedclf.tuning.table import short_name, value_text
from breedclf.tuning.trials import Trial, best_so_far, ranked

_CURVES_UP_TO = 12
_FEW_IMAGES = 500


def render_report(study: Study, *, made_at: datetime | None = None) -> str:
    """Render the report as HTML, for a finished or running search."""
    request = study.request
    best = study.best
    sections = [
        _history(study),
        _parallel(study, best),
        _importance(study),
        *confirmation_section(study),
        *_accuracy(study, best),
        _jobs(study, best),
        _request(study),
    ]
    return render_page(
        f"Tuning job {request.name}",
        sections,
        subtitle=f"{len(study.trials)} training jobs on {_images(request.config)}, strategy {request.strategy}",
        summary=summary_blocks(study, best),
        made_by=f"breedclf {__version__}",
        made_at=made_at,
    )


def _images(config: TrainingConfig) -> str:
    return "images of the program" if config.data is None else config.data.name


def summary_blocks(study: Study, best: Trial | None) -> list[Markup | str]:
    """The best hyperparameters, or why there are none, and headline figures."""
    counts = {status: sum(t.status == status for t in study.trials) for status in ("Completed", "Failed", "Stopped")}
    seconds = sum(trial.seconds or 0.0 for trial in study.trials)
    jobs = Tile("training jobs", str(len(study.trials)), f"{counts['Completed']} completed, {counts['Failed']} failed")
    blocks: list[Markup | str] = []
    if best is None or best.objective is None:
        blocks.append(
            callout(
                "bad" if study.is_over else "info",
                "No training job has completed",
                study.reason or "The search is still running.",
            )
        )
        return [*blocks, tiles([jobs])]
    values = ", ".join(f"{name} {value_text(value)}" for name, value in best.hyperparameters.items())
    headline = [Tile(f"best {study.request.objective}", f"{best.objective:.4f}", best.name, tone="ok")]
    accuracy = best.metrics.get("valid_accuracy")
    if accuracy is not None:
        headline.append(Tile("its validation accuracy", formats.percent(accuracy), _interval_text(accuracy, study)))
    if study.confirmation is not None:
        level, count = len(study.confirmation.level_with), len(study.confirmation.trials)
        seeds = f"of {count} confirmed with {len(study.confirmation.seeds)} other seeds"
        headline.append(Tile("trials level with it", str(level), seeds))
    headline += [jobs, Tile("total job time", formats.seconds(seconds), f"search: {study.status}")]
    blocks += [callout("ok", "Best hyperparameters", values), tiles(headline)]
    if study.reason:
        blocks.append(f"Reason for the end of the search: {study.reason}.")
    return blocks


def _history(study: Study) -> Section:
    request = study.request
    blocks: list[Markup | str] = [history_chart(study)]
    curves = [trial for trial in study.trials if len(trial.history) > 1]
    if curves:
        shown = (
            curves if len(curves) <= _CURVES_UP_TO else sorted(curves, key=lambda t: _rank(t, study))[:_CURVES_UP_TO]
        )
        lines = [
            Series(short_name(trial), list(range(1, len(trial.history) + 1)), list(trial.history)) for trial in shown
        ]
        note = "" if len(shown) == len(curves) else f"The best {len(shown)} of {len(curves)} are shown."
        blocks.append(
            line_chart(
                f"{request.objective} by epoch",
                lines,
                x_label="epoch",
                y_label=request.objective,
                whole_x=True,
                full=True,
                note=note,
            )
        )
    return Section(
        "History", blocks, lead="Training jobs in the order in which they started, and the best result so far."
    )


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


def _parallel(study: Study, best: Trial | None) -> Section:
    lead = "One line per training job, from its hyperparameters to its outcome; better jobs have stronger lines."
    return Section("Parallel coordinates", [parallel_chart(study, best)], lead=lead)


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


def _importance(study: Study) -> Section:
    found = importances(study.request.space, study.trials)
    lead = "The share of the objective's variance that each hyperparameter explains on its own."
    if not found:
        text = "This needs at least 4 completed training jobs with different outcomes."
        return Section("Importance", [callout("info", "Too few training jobs", text)], lead=lead)
    chart = bar_chart(
        "Main effect of each hyperparameter",
        [Bar(each.name, each.share) for each in found],
        format=formats.percent,
        maximum=1.0,
        full=True,
        note=f"From {len(ranked(study.trials))} training jobs, corrected for chance; interactions between "
        "hyperparameters aren't included.",
    )
    return Section("Importance", [chart], lead=lead)


def _accuracy(study: Study, best: Trial | None) -> list[Section]:
    count = study.valid_count
    shown = [trial for trial in ranked(study.trials) if "valid_accuracy" in trial.metrics]
    if not count or not shown or best is None:
        return []
    order = sorted(shown, key=lambda trial: _rank(trial, study))
    bars = []
    for trial in order:
        low, high = accuracy_interval(trial.metrics["valid_accuracy"], count)
        bars.append(
            Bar(short_name(trial), trial.metrics["valid_accuracy"], low, high, tone="ok" if trial is best else "")
        )
    chart = bar_chart(
        "Validation accuracy with 95% confidence intervals", bars, format=formats.percent, maximum=1.0, full=True
    )
    level = level_with_best(study.trials, study.request.direction, count)
    width = accuracy_interval(best.metrics["valid_accuracy"], count)
    words = (
        f"There are {count} validation images, so one image is {formats.percent(1 / count)}. The best training job's "
        f"accuracy is, with 95% confidence, between {formats.percent(width[0])} and {formats.percent(width[1])}. "
    )
    if level:
        words += (
            f"{len(level)} of the other {len(shown) - 1} training jobs aren't significantly worse in accuracy. "
            "All jobs were compared on the same images, and the best was selected by its outcome on them: evaluate it "
            "on the test split before reporting its accuracy."
        )
    tone: Tone = "info" if level or count < _FEW_IMAGES else "ok"
    blocks: list[Markup | str] = [callout(tone, "Reliability of these numbers", words), chart]
    return [Section("Confidence", blocks, lead="Accuracy is measured on a limited number of images.")]


def _jobs(study: Study, best: Trial | None) -> Section:
    request = study.request
    columns: list[Column | str] = [
        Column("training job"),
        Column("status"),
        *(Column(name, numeric=not isinstance(p, Categorical), format=value_text) for name, p in request.space.items()),
        Column(request.objective, numeric=True, format=lambda value: f"{value:.4f}"),
        Column("validation accuracy", numeric=True, format=formats.percent),
        Column("started (UTC)"),
        Column("time", numeric=True, format=formats.seconds),
    ]
    rows = [
        [
            Markup("<strong>{}</strong> (best)").format(trial.name) if trial is best else trial.name,
            trial.status,
            *(trial.hyperparameters[name] for name in request.space),
            trial.objective,
            trial.metrics.get("valid_accuracy"),
            None if trial.started is None else _time_text(trial.started),
            trial.seconds,
        ]
        for trial in study.trials
    ]
    blocks: list[Markup | str] = [table("Training jobs", columns, rows, empty="No training job was started.")]
    reasons = [f"{trial.name}: {trial.failure_reason or trial.note}" for trial in study.trials if _has_reason(trial)]
    if reasons:
        blocks.append(details(f"{len(reasons)} not completed or not ranked", bullets(reasons)))
    return Section("Training jobs", blocks, lead="All training jobs in the order in which they started.")


def _request(study: Study) -> Section:
    request = study.request
    criteria = request.completion.model_dump(exclude_none=True)
    pairs: list[tuple[str, object]] = [
        *((name, str(parameter)) for name, parameter in request.space.items()),
        ("objective", f"{request.objective} ({request.direction})"),
        ("strategy", request.strategy),
        ("search seed", request.seed),
        *([("other training seeds", request.confirm_seeds)] if request.confirm_seeds else []),
        ("maximum training jobs", request.job_count),
        ("maximum parallel jobs", request.max_parallel_jobs),
        ("early stopping", "on: median of running averages" if request.early_stopping else "off"),
        *((name.replace("_", " "), value) for name, value in criteria.items()),
    ]
    shared = [(name, value) for name, value in request.config.to_dict().items() if name not in request.space]
    blocks: list[Markup | str] = [facts(pairs), details("Settings of all training jobs", facts(shared))]
    return Section("Search settings", blocks)


def _dimension(name: str, parameter: Parameter) -> Dimension:
    if isinstance(parameter, Categorical):
        return Dimension(name, name)
    return Dimension(name, name, log=parameter.scaling == "log")


def _axis_value(trial: Trial, name: str, parameter: Parameter) -> float | int | str:
    """A trial's value on an axis: a name for choices, a number for ranges."""
    value = trial.hyperparameters[name]
    return value_text(value) if isinstance(parameter, Categorical) else value


def _interval_text(accuracy: float, study: Study) -> str:
    if not study.valid_count:
        return ""
    low, high = accuracy_interval(accuracy, study.valid_count)
    return f"{formats.percent(low)} to {formats.percent(high)}, of {study.valid_count} images"


def _left_out(study: Study) -> str:
    left_out = sum(trial.is_over for trial in study.trials) - len(ranked(study.trials))
    return f"{left_out} without an objective (failed, stopped, or none printed) are omitted." if left_out else ""


def _rank(trial: Trial, study: Study) -> tuple[bool, float, int]:
    value = trial.objective if trial.status == "Completed" else None
    sign = 1 if study.request.direction == "minimize" else -1
    return value is None, 0.0 if value is None else sign * value, trial.index


def _has_reason(trial: Trial) -> bool:
    return bool(trial.failure_reason or trial.note)


def _time_text(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
