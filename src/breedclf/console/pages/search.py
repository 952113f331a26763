"""One search: its verdict, progress, trials, charts, how to train with the best settings, and how to stop it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import ClassVar

from markupsafe import Markup

from breedclf.api.tuning_drivers import packed_name
from breedclf.console import html
from breedclf.console.content import Action, Content, Fragment, Links, Parameters
from breedclf.console.pages.searches import duration, progress, where
from breedclf.errors import ConfigError, JobError
from breedclf.overview.overview import Overview
from breedclf.overview.search_commands import resume_command, stop_command, train_command, train_python
from breedclf.overview.searches import INTERRUPTED, SearchView, trials_in_order
from breedclf.reporting import formats
from breedclf.reporting.blocks import Column, bullets, callout, details, facts, table
from breedclf.reporting.page import as_block
from breedclf.tuning.confirmation_report import confirmation_section
from breedclf.tuning.native import NativeDescription
from breedclf.tuning.sections import (
    confidence_section,
    history_section,
    importance_section,
    level_sentence,
    parallel_section,
    settings_section,
    summary_blocks,
)
from breedclf.tuning.study import Study
from breedclf.tuning.table import trial_columns
from breedclf.tuning.trials import Trial

_STARTED = "started"


class SearchPage:
    """`/searches/{name}`"""

    path: ClassVar[str] = "/searches/{name}"
    label: ClassVar[str] = ""

    def content(self, overview: Overview, parameters: Parameters, links: Links) -> Content:
        name = parameters["name"]
        look = overview.search(name)
        view = look.found(JobError)
        fragments = [
            Fragment("problem", html.problem(look)),
            Fragment("verdict", _verdict(view)),
            Fragment("state", _state(view, overview.backend.name, links)),
        ]
        if view.study is None:
            fragments.append(Fragment("trials", _listed(view)))
        else:
            as_started = parameters.get("order") == _STARTED
            fragments += _about(view, view.study, overview.backend.name, links, as_started=as_started)
        return Content(name, fragments, Markup("Search {}").format(where(view, links)), view.status)

    def all(self, overview: Overview) -> Sequence[Parameters]:
        return [{"name": view.name} for view in overview.searches().value or ()]


def _verdict(view: SearchView) -> Markup:
    study = view.study
    if study is None:
        heading = "Another program's search" if view.summary is not None else "The state of this search can't be read"
        return Markup("<h2>Verdict</h2>{}").format(callout("bad", heading, view.reason))
    blocks = [*summary_blocks(study, study.best, status=view.status), *level_sentence(study)]
    return Markup("<h2>Verdict</h2>{}").format(Markup("").join(map(as_block, blocks)))


def _state(view: SearchView, backend: str, links: Links) -> Markup:
    counts = ", ".join(f"{count} {status}" for status, count in view.counts.items())
    pairs: list[tuple[str, object]] = [
        ("status", html.badge(view.status)),
        ("trials", f"{progress(view)} done" + (f" ({counts})" if counts else "")),
        ("created", html.moment(view.created)),
        ("duration", duration(view)),
        ("runs", where(view, links)),
    ]
    if view.study is not None and view.study.seed_runs:
        over = sum(run.is_over for run in view.study.seed_runs)
        pairs.insert(2, ("runs with other seeds", f"{over} of {len(view.study.seed_runs)} done"))
    if view.study is not None and view.study.request.packed and view.backend == backend:
        name = packed_name(view.study)
        pairs.append(("job", html.link(links.to(f"/jobs/{name}"), name)))
    if view.home is not None:
        pairs.append(("folder", str(view.home.folder(view.name).path)))
    blocks = [facts(pairs)]
    if view.status == INTERRUPTED:
        blocks.append(callout("issue", "No process drives this search", _without_process(view)))
    elif view.is_elsewhere and view.is_active:
        text = f"It runs on {view.backend}, and this is how it was seen last: choose that backend to see it as it is."
        blocks.append(callout("info", "Seen from another backend", text))
    if view.status == INTERRUPTED:
        blocks.append(html.code(shlex.join(resume_command(view)), label="Command that continues it"))
    if view.can_be_stopped:
        blocks.append(html.actions([_stop(view)], links))
    return Markup("<h2>Progress</h2>{}").format(Markup("").join(blocks))


def _without_process(view: SearchView) -> str:
    running = sum(count for status, count in view.counts.items() if status in ("InProgress", "Stopping"))
    if view.backend is None:
        return "The process that ran it has ended. Trials that are done are kept, and this command continues it:"
    jobs = f"Its {running} running jobs go on, but no new ones are started" if running else "No new jobs are started"
    return f"{jobs}, and this page shows what was seen last. This command continues it:"


def _stop(view: SearchView) -> Action:
    rest = "Trials that are done are kept, and so is the best model."
    question = f"Stop {view.name}? {rest}"
    return Action("stop-search", "Stop", {"name": view.name}, stop_command(view), question)


def _about(view: SearchView, study: Study, backend: str, links: Links, *, as_started: bool) -> list[Fragment]:
    """The trials and charts of a search, each in a fragment, and how to train with the best settings."""
    return [
        Fragment("trials", _trials(view, study, backend, links, as_started=as_started)),
        Fragment("history", html.section(history_section(study))),
        Fragment("parallel", html.section(parallel_section(study))),
        Fragment("importance", html.section(importance_section(study))),
        Fragment("seeds", Markup("").join(map(html.section, confirmation_section(study)))),
        Fragment("confidence", Markup("").join(map(html.section, confidence_section(study)))),
        Fragment("alone", _alone(study)),
        Fragment("settings", html.section(settings_section(study))),
    ]


def _trial(trial: Trial, links: Links | None, *, is_best: bool) -> Markup:
    """The number of a trial, which leads to its job where it has one."""
    number: Markup | int = trial.index + 1
    if links is not None:
        number = html.link(links.to(f"/jobs/{trial.name}"), number)
    return Markup("<strong>{}</strong> (best)").format(number) if is_best else Markup("{}").format(number)


def _trials(view: SearchView, study: Study, backend: str, links: Links, *, as_started: bool) -> Markup:
    request, best = study.request, study.best
    objective = Column(request.objective, numeric=True, format=lambda value: f"{value:.4f}")
    columns = [
        Column("trial"),
        objective,
        *trial_columns(request.space),
        Column("validation accuracy", numeric=True, format=formats.percent),
        Column("status"),
        Column("started"),
        Column("time", numeric=True),
    ]
    with_jobs = view.backend == backend and not request.packed
    trials = trials_in_order(study, as_started=as_started)
    rows = [
        [
            _trial(trial, links if with_jobs else None, is_best=trial is best),
            trial.objective,
            *(trial.hyperparameters[name] for name in request.space),
            trial.metrics.get("valid_accuracy"),
            html.badge(trial.status),
            html.moment(trial.started),
            html.running(trial.started, trial.ended) if view.is_followed or trial.ended else None,
        ]
        for trial in trials
    ]
    caption = "Trials as they started" if as_started else f"Trials, best {request.objective} first"
    blocks = [table(caption, columns, rows, empty="No trial has started.")]
    reasons = [
        f"{each.name}: {each.failure_reason or each.note}" for each in trials if each.failure_reason or each.note
    ]
    if reasons:
        blocks.append(details(f"{len(reasons)} not completed or not ranked", bullets(reasons)))
    if links.is_live and len(trials) > 1:
        other = links.to(f"/searches/{view.name}", order="" if as_started else _STARTED)
        first: Markup | str = html.link(other, "Best first") if as_started else "Best first"
        second: Markup | str = "as they started" if as_started else html.link(other, "as they started")
        blocks.insert(0, Markup("<p>{}, or {}</p>").format(first, second))
    return Markup("<h2>Trials</h2>{}").format(Markup("").join(blocks))


def _alone(study: Study) -> Markup:
    best = study.best
    if best is None:
        return Markup("")
    try:
        line, python = train_command(study, best), train_python(study, best)
    except ConfigError as error:
        problem = callout("bad", "This version can't train with these settings", str(error))
        return Markup("<h2>Train with the best settings</h2>{}").format(problem)
    blocks = [
        html.code(python, label="Python that trains with the best settings"),
        as_block("The images were given by a program: give the same ones as `images`.")
        if line is None
        else html.code(line, label="Command that trains with the best settings"),
    ]
    return Markup("<h2>Train with the best settings</h2>{}").format(Markup("").join(blocks))


def _listed(view: SearchView) -> Markup:
    """The trials of a search that another program started, as the service describes them."""
    found = view.summary
    if not isinstance(found, NativeDescription):
        return Markup("")
    columns: list[Column | str] = [
        "training job",
        "status",
        Column("objective", numeric=True, format=formats.plain),
        "hyperparameters",
        "started",
        Column("time", numeric=True),
    ]
    rows = [
        [
            Markup("<strong>{}</strong> (best)").format(each.name) if each.name == found.best else each.name,
            html.badge(each.status),
            each.objective,
            ", ".join(f"{name} {value}" for name, value in sorted(each.hyperparameters.items())),
            html.moment(each.started),
            html.running(each.started, each.ended),
        ]
        for each in found.trials
    ]
    return Markup("<h2>Trials</h2>{}").format(table("Training jobs, as they started", columns, rows))
