"""One job: its state and progress, curves, the end of its log, how to repeat it, its files and settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from markupsafe import Markup

from breedclf.console import html
from breedclf.console.content import Action, Content, Fragment, Links, Parameters
from breedclf.console.pages.data import dataset_link
from breedclf.errors import JobError
from breedclf.jobs import JobRecord, MetricRecord
from breedclf.overview.job_metrics import Metrics, Progress, metrics_of, progress_of
from breedclf.overview.jobs import JobView
from breedclf.overview.logs import LogView
from breedclf.overview.looks import Look
from breedclf.overview.models import job_of
from breedclf.overview.overview import Overview
from breedclf.overview.repeating import repeating
from breedclf.reporting.blocks import Column, details, facts, table
from breedclf.reporting.charts import Series, line_chart
from breedclf.reporting.formats import percent, plain, seconds as as_duration

_MOST_CHARTS = 24


class JobPage:
    """`/jobs/{name}`"""

    path: ClassVar[str] = "/jobs/{name}"
    label: ClassVar[str] = ""

    def content(self, overview: Overview, parameters: Parameters, links: Links) -> Content:
        name = parameters["name"]
        look = overview.job(name)
        job = look.found(JobError)
        subtitle = Markup("Job on {}, {}").format(overview.label, job.status)
        if job.is_damaged:
            return Content(
                name,
                [
                    Fragment("problem", html.problem(look)),
                    Fragment("state", _state(job, None, overview.backend.name, links)),
                ],
                subtitle,
            )
        records = overview.metrics(name).value or []
        record = overview.job_record(name).value
        return Content(
            name,
            [
                Fragment("problem", html.problem(look)),
                Fragment("state", _state(job, record, overview.backend.name, links, _versions(overview, job))),
                Fragment("progress", _progress(job, records)),
                Fragment("curves", _curves(metrics_of(records), job)),
                Fragment("log", _log(job, overview.log(name), links)),
                Fragment("transitions", _transitions(job)),
                Fragment("repeat", _repeat(record, overview.backend.name)),
                Fragment("files", _files(overview, job, record, links)),
                Fragment("settings", _settings(job)),
            ],
            subtitle,
            job.doing if job.is_active else job.status,
        )

    def all(self, overview: Overview) -> Sequence[Parameters]:
        return [{"name": job.name} for job in overview.jobs().value or ()]


def _versions(overview: Overview, job: JobView) -> list[tuple[str, int]]:
    """The stored versions, by model and number, that the job trained."""
    if job.is_active:
        return []
    records = [model.record for model in overview.models().value or () if model.record is not None]
    return [(each.name, one.version) for each in records for one in each.versions if job_of(one.source) == job.name]


def _state(
    job: JobView, record: JobRecord | None, backend: str, links: Links, versions: Sequence[tuple[str, int]] = ()
) -> Markup:
    found = job.description
    pairs: list[tuple[str, object]] = [
        ("status", html.badge(job.status)),
        ("now" if job.is_active else "ended as", job.doing),
        ("created", html.moment(found.created)),
        ("duration", html.running(found.started, None if job.is_active else found.ended)),
    ]
    if job.search:
        pairs.append(("search", html.link(links.to(f"/searches/{job.search}"), job.search)))
    if found.failure_reason:
        pairs.append(("failure reason", Markup('<span class="reason">{}</span>').format(found.failure_reason)))
    if record is not None and "profile" in record.folders:
        pairs.append(("profile", html.link(links.to(f"/profiles/{job.name}"), "where its time went")))
    pairs += [
        ("stored as", html.link(links.to(f"/models/{name}/{version}"), f"{name}, version {version}"))
        for name, version in versions
    ]
    if (code := found.details.get("exit_code")) is not None:
        pairs.append(("exit code", code))
    return Markup("<h2>State</h2>{}{}").format(facts(pairs), html.actions(_actions(job, backend), links))


def _actions(job: JobView, backend: str) -> list[Action]:
    if job.is_active:
        return [
            Action(
                "stop-job",
                "Stop",
                {"name": job.name},
                ["breedclf", "jobs", "stop", job.name, "--backend", backend],
                f"Stop {job.name}? It keeps the best model so far.",
            )
        ]
    return [
        Action(
            "delete-job",
            "Delete",
            {"name": job.name},
            ["breedclf", "jobs", "clean", job.name, "--backend", backend],
            f"Delete {job.name} and everything it wrote, its model included?",
        )
    ]


def _progress(job: JobView, records: Sequence[MetricRecord]) -> Markup:
    progress = progress_of(records, job.description.hyperparameters, job.description.started)
    if not job.is_active or progress is None:
        return Markup("")
    return Markup("<h2>Progress</h2>{}").format(_bar(progress))


def _bar(progress: Progress) -> Markup:
    if progress.epochs is None:
        return Markup("<p>Epoch {}</p>").format(progress.epoch)
    bar = Markup('<progress max="{}" value="{}" aria-label="Epochs"></progress>').format(
        progress.epochs, min(progress.epoch, progress.epochs)
    )
    due = Markup(", about {}").format(html.left(progress.due)) if progress.due is not None else ""
    return Markup('<p class="progress">{} <span>Epoch {} of {}{}</span></p>').format(
        bar, progress.epoch, progress.epochs, due
    )


def _curves(metrics: Metrics, job: JobView) -> Markup:
    charts = [
        line_chart(
            group.title,
            [Series(curve.name.replace("_", " "), curve.x, curve.y) for curve in group.curves],
            x_label=metrics.x_name,
            y_format=percent if group.title == "Accuracy" else plain,
            whole_x=True,
        )
        for group in metrics.groups[:_MOST_CHARTS]
    ]
    more = len(metrics.groups) - len(charts)
    last = sorted((metrics.last or job.description.metrics).items())
    columns: list[Column | str] = ["metric", Column("last value", numeric=True, format=plain)]
    parts = [
        Markup('<div class="blocks">{}</div>').format(Markup("").join(charts)) if charts else "",
        Markup("<p>{} more metrics have curves; `breedclf jobs show` lists them.</p>").format(more) if more > 0 else "",
        table("Last values", columns, last) if last else "",
    ]
    if not charts and not last:
        parts = [Markup("<p>{}</p>").format("Nothing reported yet." if job.is_active else "It reported no metrics.")]
    return Markup("<h2>Metrics</h2>{}").format(Markup("").join(parts))


def _log(job: JobView, look: Look[LogView], links: Links) -> Markup:
    if look.value is None:
        return Markup("<h2>Log</h2><p>{}</p>").format(look.problem)
    log = look.value
    shown = Markup('<div class="log"><pre tabindex="0" aria-label="End of the log">{}</pre></div>').format(
        "\n".join(log.lines) or ("Nothing written yet." if job.is_active else "The log is empty.")
    )
    whole = html.link(links.to(f"/jobs/{job.name}/log"), "Whole log") if links.is_live and log.position != 0 else ""
    download = html.link(links.to(f"/jobs/{job.name}/log.txt"), "Download") if links.is_live else ""
    links_line = Markup('<p class="pages">{} {}</p>').format(whole, download) if links.is_live else Markup("")
    return Markup("<h2>Log</h2>{}{}").format(shown, links_line)


def _transitions(job: JobView) -> Markup:
    entered = job.description.transitions
    ends = [*(each.time for each in entered[1:]), None if job.is_active else job.description.ended]
    rows = [
        (
            each.status,
            html.moment(each.time),
            "–" if end is None or each is entered[-1] else as_duration(max(0.0, end - each.time)),
            each.message,
        )
        for each, end in zip(entered, ends, strict=False)
    ]
    columns: list[Column | str] = ["status", "entered", Column("lasted", numeric=True), "message"]
    return Markup("<h2>Course</h2>{}").format(table("Secondary statuses", columns, rows, empty="None recorded."))


def _repeat(record: JobRecord | None, backend: str) -> Markup:
    found = None if record is None else repeating(record.spec, backend)
    if found is None:
        return Markup("")
    notes = Markup("").join(Markup("<p>{}</p>").format(note) for note in found.notes)
    return Markup("<h2>Run it again</h2>{}{}{}").format(
        html.code(found.python, label="Python"), html.code(found.command, label="Command"), notes
    )


def _files(overview: Overview, job: JobView, record: JobRecord | None, links: Links) -> Markup:
    pairs: list[tuple[str, object]] = []
    if record is not None:
        pairs += [(f"{name} folder", str(path)) for name, path in record.folders.items()]
        channels = sorted(record.spec.channels.items())
        pairs += [(f"channel {name}", dataset_link(overview, path, links)) for name, path in channels]
        pairs += [(name, value) for name in ("cores", "gpus") if (value := record.options.get(name)) is not None]
        pairs.append(("time limit", as_duration(record.spec.max_runtime_seconds)))
        if record.spec.spot:
            pairs.append(("spot", "may be interrupted"))
    known = {name: value for name, value in job.description.details.items() if name != "exit_code"}
    pairs += [(name.replace("_", " "), value) for name, value in known.items() if isinstance(value, str | int | float)]
    return Markup("<h2>Files and resources</h2>{}").format(facts(pairs)) if pairs else Markup("")


def _settings(job: JobView) -> Markup:
    pairs = sorted(job.description.hyperparameters.items())
    if not pairs:
        return Markup("")
    listed = table("Hyperparameters", ["name", "value"], pairs)
    return Markup("<h2>Settings</h2>{}").format(details(f"{len(pairs)} hyperparameters", listed))
