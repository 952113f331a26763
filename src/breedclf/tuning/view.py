"""What a notebook shows of a search: the best hyperparameters, the history as a chart, and the last trials."""

from __future__ import annotations

from breedclf.reporting import formats
from breedclf.reporting.blocks import Column, details, table
from breedclf.reporting.notebook import notebook_view
from breedclf.tuning.charts import history_chart
from breedclf.tuning.sections import summary_blocks
from breedclf.tuning.study import Study
from breedclf.tuning.table import value_text

_ROWS = 12


def study_view(study: Study) -> str:
    """The HTML of a `TuningJob`."""
    names = list(study.request.space)
    rows = [
        [trial.name, trial.status, *(value_text(trial.hyperparameters[name]) for name in names), trial.objective]
        for trial in study.trials[-_ROWS:]
    ]
    columns: list[Column | str] = [
        "trial",
        "status",
        *names,
        Column(study.request.objective, numeric=True, format=formats.plain),
    ]
    shown = f"The last {_ROWS} of {len(study.trials)} trials" if len(study.trials) > _ROWS else "Trials"
    with_objective = [trial for trial in study.trials if trial.objective is not None]
    return notebook_view(
        f"Tuning job {study.request.name}: {study.status}",
        *summary_blocks(study, study.best),
        *([history_chart(study)] if len(with_objective) > 1 else []),
        details(shown, table("", columns, rows)),
    )
