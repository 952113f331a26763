"""The page's sections about training: the trials, the best of them, and where the time of a run goes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from markupsafe import Markup
from pydantic import ValidationError

from breedclf.journey.figures import Epoch, Issue, ProfileFigures, SeedTrial, TriedChange, parsed
from breedclf.journey.page.material import Material
from breedclf.journey.record import StepRecord
from breedclf.reporting.blocks import Column, Tile, bullets, callout, details, table, tiles
from breedclf.reporting.charts import Bar, Series, bar_chart, donut_chart, line_chart
from breedclf.reporting.formats import percent, plain, seconds
from breedclf.tuning.analysis import accuracy_interval, level_with_best
from breedclf.tuning.charts import history_chart, parallel_chart
from breedclf.tuning.space import Categorical
from breedclf.tuning.study import Study
from breedclf.tuning.table import value_text
from breedclf.tuning.trials import Trial

Block = Markup | str

_MOST_TRIALS = 24


def search_blocks(step: StepRecord, material: Material) -> Iterator[Block]:
    """Every trial as a line from its settings to its outcome, in order of time, and in a table."""
    study = material.study
    if study is None:
        yield "The files of the search are gone, so its charts can't be drawn."
        return
    if len(study.request.space) > 1:
        yield parallel_chart(study, study.best)
    yield history_chart(study)
    yield _trials(study)
    if isinstance(confirmation := step.outcome.values.get("confirmation"), Mapping):
        yield from _other_seeds(confirmation, study)


def _other_seeds(confirmation: Mapping[str, Any], study: Study) -> Iterator[Block]:
    """The best trials with other seeds: by how much chance alone changes their objective, and which are level."""
    trials = parsed(SeedTrial, confirmation.get("trials"))
    numbers = {trial.name: trial.index + 1 for trial in study.trials}
    columns: list[Column | str] = [
        "Trial", Column("Mean", True, _four_digits), Column("Standard deviation", True, _four_digits),
        Column("p-value", True, lambda value: plain(value, 2)), "Compared with the best",
    ]  # fmt: skip
    best = confirmation.get("best")
    rows = [
        (
            numbers.get(each.name, each.name), each.mean, each.spread, each.p_value,
            "the best" if each.name == best else "level: may be chance" if each.is_level else "different",
        )
        for each in trials
    ]  # fmt: skip
    yield Markup("<h3>The best again, with other seeds</h3>")
    yield (
        f"The seed decides the order of the images. The best {len(trials)} trials were run again with "
        f"{len(confirmation.get('seeds') or ())} other seeds: a difference no larger than that between seeds is noise."
    )
    yield table(f"{study.request.objective} with other seeds", columns, rows)


def _four_digits(value: float) -> str:
    return f"{value:.4f}"


def _trials(study: Study) -> Markup:
    request = study.request
    columns: list[Column | str] = [
        Column("Trial"),
        *(
            Column(name, numeric=not isinstance(given, Categorical), format=value_text)
            for name, given in request.space.items()
        ),
        Column(request.objective, True, _four_digits),
        Column("Validation accuracy", True, percent),
        Column("Time", True, seconds),
    ]
    sign = 1 if request.direction == "minimize" else -1
    order = sorted(study.trials, key=lambda trial: (trial.objective is None, sign * (trial.objective or 0.0)))
    best = study.best
    rows = [
        (
            Markup("<strong>{} (best)</strong>").format(trial.index + 1) if trial is best else trial.index + 1,
            *(trial.hyperparameters.get(name) for name in request.space),
            trial.objective,
            trial.metrics.get("valid_accuracy"),
            trial.seconds,
        )
        for trial in order[:_MOST_TRIALS]
    ]
    more = f", the best {_MOST_TRIALS} of {len(order)}" if len(order) > _MOST_TRIALS else ", best first"
    return table(f"Trials{more}", columns, rows, empty="No trial was started.")


def best_blocks(step: StepRecord, material: Material) -> Iterator[Block]:
    """The best settings, how sure that is, and the learning curves of that run."""
    study = material.study
    best = None if study is None else study.best
    if study is not None and best is not None:
        yield tiles([Tile(name, value_text(value)) for name, value in best.hyperparameters.items()])
        if sentence := how_sure(study, best):
            yield callout("info", "How sure is that?", sentence)
    epochs = parsed(Epoch, step.outcome.values.get("epochs"))
    if epochs:
        yield from _learning_curves(epochs)


def how_sure(study: Study, best: Trial) -> str:
    """How the best trial's validation accuracy compares with the others', in words; empty if it wasn't measured."""
    accuracy = best.metrics.get("valid_accuracy")
    if accuracy is None or not study.valid_count:
        return ""
    low, high = accuracy_interval(accuracy, study.valid_count)
    measured = (
        f"It was chosen by its {study.request.objective}. Its validation accuracy is {percent(accuracy)} of "
        f"{study.valid_count} images, with 95% confidence between {percent(low)} and {percent(high)}."
    )
    level, others = level_with_best(study.trials, study.request.direction, study.valid_count), len(study.trials) - 1
    if not level:
        return f"{measured} All others are significantly less accurate."
    which = "None of the" if len(level) == others else f"{others - len(level)} of the"
    return (
        f"{measured} {which} other {_count(others, 'trial')} {_is(others - len(level))} significantly less accurate: "
        "with this many images, the choice among the rest is partly luck."
    )


def _learning_curves(epochs: Sequence[Epoch]) -> Iterator[Markup]:
    numbers = list(range(1, len(epochs) + 1))
    nan = float("nan")

    def series(name: str, values: Sequence[float | None]) -> Series:
        return Series(name, numbers, [nan if value is None else value for value in values])

    yield line_chart(
        "Loss by epoch",
        [
            series("training", [epoch.train_loss for epoch in epochs]),
            series("validation", [epoch.valid_loss for epoch in epochs]),
        ],
        x_label="epoch", y_label="loss", whole_x=True, from_zero=True,
    )  # fmt: skip
    yield line_chart(
        "Validation accuracy by epoch", [series("validation", [epoch.valid_accuracy for epoch in epochs])],
        x_label="epoch", y_label="accuracy", y_format=percent, whole_x=True, from_zero=True,
    )  # fmt: skip


def time_blocks(step: StepRecord, _material: Material) -> Iterator[Block]:
    """What the profiler's rules found, where the time went, and whether the advice helped."""
    try:
        figures = ProfileFigures.model_validate(step.outcome.values.get("figures") or {})
    except ValidationError:  # of another version
        return
    if figures.issues:
        yield callout("issue", _count(len(figures.issues), "issue"), bullets(map(_issue, figures.issues)))
    if figures.time:
        yield donut_chart("Time of the run", figures.time, format=seconds)
    if run := [each for each in figures.tried if each.after > 0]:
        bars = [Bar("unchanged", run[0].before), *(Bar(each.name, each.after) for each in run)]
        yield bar_chart("Advice, tried and measured", bars, format=seconds)
    if figures.tried:
        yield _tried(figures)


def _issue(issue: Issue) -> Markup:
    return Markup("<strong>{}</strong>: {}. <em>{}</em>").format(issue.rule, issue.evidence.rstrip("."), issue.advice)


def _tried(figures: ProfileFigures) -> Markup:
    heads: list[Column | str] = [
        "Change", Column("Before", True, seconds), Column("After", True, seconds),
        Column("Speedup", True, lambda value: f"{plain(value, 3)}x"), "Outcome",
    ]  # fmt: skip
    rows = [
        (each.name, each.before, *((each.after, each.speedup) if each.after > 0 else (None, None)), _outcome(each))
        for each in figures.tried
    ]
    return details(
        f"{_count(len(figures.tried), 'change')} tried and measured",
        table("Medians of runs with and without each change", heads, rows),
    )


def _outcome(tried: TriedChange) -> str:
    return "faster" if tried.kept else "not faster" if tried.after > 0 else "could not be run"


def _is(number: int) -> str:
    return "are" if number > 1 else "is"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
