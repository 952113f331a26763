"""The part of the HTML report about trials that were run again with other seeds."""

from __future__ import annotations

from markupsafe import Markup

from breedclf.evaluation.paired import LEVEL
from breedclf.reporting import Section, formats
from breedclf.reporting.blocks import Column, callout, table
from breedclf.reporting.charts import Bar, bar_chart
from breedclf.tuning.confirmation import ConfirmedTrial
from breedclf.tuning.study import Study
from breedclf.tuning.table import mean_text, short_name, value_text


def confirmation_section(study: Study) -> list[Section]:
    """The confirmed trials with their means over other seeds, and which ones are level with the best."""
    found, objective = study.confirmation, study.request.objective
    if found is None:
        return []
    trials = {trial.name: trial for trial in study.trials}
    level = len(found.level_with)
    if level:
        others = len(found.trials) - 1
        share = f"None of the other {others}" if level == others else f"Only {others - level} of the other {others}"
        text = (
            f"{share} confirmed trials can be distinguished from the best one; other differences may be chance. Choose "
            "among level trials by what else matters, such as the time of training."
        )
        summary = callout("info", "Level trials", text)
    else:
        text = f"It is significantly better than the other {len(found.trials) - 1} confirmed trials."
        summary = callout("ok", "A clear best trial", text)
    columns: list[Column | str] = [
        "trial",
        *(Column(name, format=value_text) for name in study.request.space),
        Column(f"{objective} in the search", numeric=True, format=_four_digits),
        Column("with other seeds"),
        Column("p-value", numeric=True, format=formats.plain),
        "result",
    ]
    rows = [
        [
            trial.name,
            *trials[trial.name].hyperparameters.values(),
            trials[trial.name].objective,
            mean_text(trial),
            trial.p_value,
            "best" if trial.name == found.best else "level" if trial.name in found.level_with else "different",
        ]
        for trial in found.trials
    ]
    chart = bar_chart(
        f"{objective} with other seeds, from the lowest to the highest",
        [_bar(trial, found.best, short_name(trials[trial.name])) for trial in found.trials if trial.completed],
        format=_four_digits,
        full=True,
    )
    note = (
        f"Mean ± standard deviation over the training seeds {', '.join(map(str, found.seeds))}. A trial differs from "
        f"the best if the paired t tests over seeds and over validation images both find a difference "
        f"(p < {LEVEL:g}, corrected for the number of pairs)."
    )
    blocks: list[Markup | str] = [summary, chart, table("Confirmed trials", columns, rows), note]
    return [Section("Other seeds", blocks, lead="The best trials of the search, trained again with other seeds.")]


def _bar(trial: ConfirmedTrial, best: str, label: str) -> Bar:
    values = trial.completed
    return Bar(label, trial.mean or 0.0, min(values), max(values), tone="ok" if trial.name == best else "")


def _four_digits(value: float) -> str:
    return f"{value:.4f}"
