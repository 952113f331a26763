"""The HTML report about a search: its result, history, the importance of parameters, and every training job."""

from __future__ import annotations

from datetime import UTC, datetime

from markupsafe import Markup

from breedclf._version import __version__
from breedclf.config import TrainingConfig
from breedclf.reporting import Section, formats, render_page
from breedclf.reporting.blocks import Column, bullets, details, table
from breedclf.tuning.confirmation_report import confirmation_section
from breedclf.tuning.sections import (
    confidence_section,
    history_section,
    importance_section,
    parallel_section,
    settings_section,
    summary_blocks,
)
from breedclf.tuning.study import Study
from breedclf.tuning.table import trial_columns
from breedclf.tuning.trials import Trial


def render_report(study: Study, *, made_at: datetime | None = None) -> str:
    """Render the report as HTML, for a finished or running search."""
    request = study.request
    best = study.best
    sections = [
        history_section(study),
        parallel_section(study),
        importance_section(study),
        *confirmation_section(study),
        *confidence_section(study),
        _jobs(study, best),
        settings_section(study),
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


def _jobs(study: Study, best: Trial | None) -> Section:
    request = study.request
    columns: list[Column | str] = [
        Column("training job"),
        Column("status"),
        *trial_columns(request.space),
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


def _has_reason(trial: Trial) -> bool:
    return bool(trial.failure_reason or trial.note)


def _time_text(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
