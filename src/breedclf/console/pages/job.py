"""One job: its state, metrics as curves, the end of its log, its settings, and how to stop or delete it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from markupsafe import Markup

from breedclf.console import html
from breedclf.console.content import Action, Content, Fragment, Links, Parameters
from breedclf.errors import JobError
from breedclf.jobs import MetricRecord
from breedclf.overview.jobs import JobView
from breedclf.overview.overview import Overview
from breedclf.reporting.blocks import facts, table
from breedclf.reporting.charts import Series, line_chart

_LOG_LINES = 200


class JobPage:
    """`/jobs/{name}`"""

    path: ClassVar[str] = "/jobs/{name}"
    label: ClassVar[str] = ""

    def content(self, overview: Overview, parameters: Parameters, links: Links) -> Content:
        name = parameters["name"]
        look = overview.job(name)
        if look.value is None:
            raise JobError(look.problem)
        job = look.value
        return Content(
            name,
            [
                Fragment("problem", html.problem(look)),
                Fragment("state", _state(job, links)),
                Fragment("curves", _curves(overview.metrics(name).value or [])),
                Fragment("log", _log(overview.log(name).value or "")),
                Fragment("settings", _settings(job)),
            ],
            Markup("Job on {}").format(overview.label),
        )

    def all(self, overview: Overview) -> Sequence[Parameters]:
        return [{"name": job.name} for job in overview.jobs().value or ()]


def _state(job: JobView, links: Links) -> Markup:
    found = job.description
    pairs: list[tuple[str, object]] = [
        ("status", Markup("{} {}").format(html.badge(job.status), job.doing)),
        ("created", html.moment(found.created)),
        ("duration", html.running(found.started, None if job.is_active else found.ended)),
    ]
    if job.search:
        pairs.append(("search", html.link(links.to(f"/searches/{job.search}"), job.search)))
    if found.failure_reason:
        pairs.append(("failure reason", found.failure_reason))
    return Markup("<h2>State</h2>{}{}").format(facts(pairs), html.actions(_actions(job), links))


def _actions(job: JobView) -> list[Action]:
    if job.is_active:
        return [
            Action(
                "stop-job",
                "Stop",
                {"name": job.name},
                ["breedclf", "jobs", "stop", job.name],
                f"Stop {job.name}? It keeps the best model so far.",
            )
        ]
    return [
        Action(
            "delete-job",
            "Delete",
            {"name": job.name},
            ["breedclf", "jobs", "clean", job.name],
            f"Delete {job.name} and everything it wrote, its model included?",
        )
    ]


def _curves(records: Sequence[MetricRecord]) -> Markup:
    values: dict[str, list[float]] = {}
    for record in records:
        for name, value in record.values.items():
            values.setdefault(name, []).append(value)
    charts = [
        line_chart(name, [Series(name, list(range(1, len(points) + 1)), points)], x_label="reported", whole_x=True)
        for name, points in sorted(values.items())
        if len(points) > 1
    ]
    if not charts:
        return Markup("<h2>Metrics</h2><p>No curves yet.</p>")
    return Markup('<h2>Metrics</h2><div class="blocks">{}</div>').format(Markup("").join(charts))


def _log(text: str) -> Markup:
    lines = text.splitlines()[-_LOG_LINES:]
    return Markup('<h2>Log</h2><div class="log"><pre tabindex="0" aria-label="Log">{}</pre></div>').format(
        "\n".join(lines)
    )


def _settings(job: JobView) -> Markup:
    pairs = sorted(job.description.hyperparameters.items())
    return Markup("<h2>Settings</h2>{}").format(table("Hyperparameters", ["name", "value"], pairs))
