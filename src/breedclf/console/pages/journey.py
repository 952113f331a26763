"""One journey: its steps as they run, what each found, how to repeat it alone, and what it led to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from markupsafe import Markup

from breedclf.console import html
from breedclf.console.content import Content, Fragment, Links, Parameters
from breedclf.console.pages.data import dataset_link
from breedclf.errors import ConfigError
from breedclf.journey.page.material import Material
from breedclf.journey.page.parts import StepItem, alone, duration, row_of_items, state_line
from breedclf.journey.page.search import time_blocks
from breedclf.overview.folders import key_of
from breedclf.overview.journeys import JourneyView, StepState, StepView, readable_report
from breedclf.overview.overview import Overview
from breedclf.reporting.blocks import Tile, Tone, callout, facts, tiles
from breedclf.reporting.page import as_block

_TONES: dict[StepState, Tone] = {
    "Completed": "ok", "Failed": "bad", "Refused": "bad", "Interrupted": "issue",
}  # fmt: skip
_MARKS: dict[StepState, str] = {
    "Completed": "✓", "Failed": "✕", "Refused": "!", "Skipped": "–", "InProgress": "…", "Interrupted": "!",
    "Planned": "·",
}  # fmt: skip


class JourneyPage:
    """`/journeys/{name}`"""

    path: ClassVar[str] = "/journeys/{name}"
    label: ClassVar[str] = ""

    def content(self, overview: Overview, parameters: Parameters, links: Links) -> Content:
        look = overview.journey(parameters["name"])
        view = look.found(ConfigError)
        return Content(
            f"Journey {view.title}",
            [
                Fragment("problem", html.problem(look)),
                Fragment("state", _state(view, links)),
                Fragment("row", _row(view)),
                *(Fragment(_anchor(step), _step(number, step, view, overview, links)) for number, step in _taken(view)),
            ],
            str(view.folder),
            _doing(view),
        )

    def all(self, overview: Overview) -> Sequence[Parameters]:
        return [{"name": view.name} for view in overview.journeys().value or ()]


def report_path(view: JourneyView, report: str) -> str:
    """The path of a report of a journey, as the server has it."""
    return f"/journeys/{view.name}/files/{report}"


def report_file(overview: Overview, name: str, report: str) -> Path:
    """A report that belongs to a journey.

    Raises:
        ConfigError: there is no such journey, or the file isn't one of its reports.
    """
    view = overview.journey(name).value
    if view is None or report not in view.reports or readable_report(view.folder, report) != report:
        raise ConfigError(f"no report {report!r} of a journey {name!r}")
    return view.folder / report


def _state(view: JourneyView, links: Links) -> Markup:
    pairs: list[tuple[str, object]] = [
        ("status", html.badge(view.state)),
        ("recorded", html.moment(view.changed)),
    ]
    if view.steps:
        seconds = sum(step.record.seconds for step in view.steps if step.record is not None)
        pairs.insert(1, ("time of its steps", duration(seconds)))
    if links.is_live and (page := view.page) is not None:
        pairs.append(("its page", html.link(links.to(report_path(view, page)), "as one page")))
    return Markup("{}{}").format(_verdict(view), facts(pairs))


def _doing(view: JourneyView) -> str:
    """How it is, in a word or two."""
    if view.state != "InProgress" or view.now is None:
        return view.state
    return f"{view.now.heading}, {view.done} of {len(view.steps)}"


def _verdict(view: JourneyView) -> Markup:
    """How far it is, in one sentence."""
    step, again = view.now, "The same `breedclf journey` command continues there."
    total, done = len(view.steps), view.done
    if view.state == "Damaged":
        return callout("bad", "Its record can't be read", view.problem)
    if view.state == "Completed":
        return callout("ok", "All steps are done", view.steps[-1].headline)
    where = "between two steps" if step is None else f"in step {view.steps.index(step) + 1}, {step.heading.lower()}"
    if view.state == "Interrupted":
        return callout("issue", f"Interrupted {where}: {done} of {total} steps are done", again)
    if step is not None and view.state == "Failed":
        return callout("bad", f"Failed {where}", step.headline, again)
    if step is not None and view.state == "Refused":
        return callout("bad", "The gate refused the model", step.headline)
    unknown = "" if view.is_known_to_run else "If no process runs it, it was interrupted."
    heading = f"Under way {where}: {done} of {total} steps are done"
    return callout("info", heading, *([unknown] if unknown else []))


def _row(view: JourneyView) -> Markup:
    if not view.steps:
        return Markup("")
    return row_of_items([_item(step) for step in view.steps])


def _item(step: StepView) -> StepItem:
    words = {"InProgress": "running", "Planned": "planned"}.get(step.state, step.state.lower())
    seconds = None if step.record is None or step.state in ("InProgress", "Skipped") else step.record.seconds
    time = "" if seconds is None else duration(seconds)
    if step.state in ("Planned", "InProgress") and step.expected is not None:
        time = f"{duration(step.expected)} last time"
    anchor = "" if step.state == "Planned" else _anchor(step)
    return StepItem(step.heading, anchor, _tone(step), _MARKS[step.state], words, time)


def _taken(view: JourneyView) -> Iterator[tuple[int, StepView]]:
    """The steps that have a record, with their numbers."""
    return ((number, step) for number, step in enumerate(view.steps, 1) if step.record is not None)


def _step(number: int, step: StepView, view: JourneyView, overview: Overview, links: Links) -> Markup:
    record = step.record
    assert record is not None
    running = step.state == "InProgress"
    time = html.running(step.started, None) if running else "" if step.state == "Skipped" else duration(record.seconds)
    report = links.to(report_path(view, step.report)) if links.is_live and step.report else None
    state = "running" if running else step.state.lower()
    parts: list[Markup | str] = [state_line(_tone(step), state, time, report)]
    if not running:
        parts.append(step.headline)
    if record.outcome.figures:
        parts.append(tiles(Tile(each.label, each.value, each.note) for each in record.outcome.figures))
    if step.name == "profile" and step.state == "Completed":
        parts += time_blocks(record, Material("", ""))
    if related := list(_related(step, view, overview, links)):
        parts.append(facts(related))
    parts += alone(record)
    blocks = Markup("").join(as_block(part) for part in parts)
    return Markup('<h2>{}</h2><div class="blocks">{}</div>').format(f"{number}. {step.heading}", blocks)


def _related(step: StepView, view: JourneyView, overview: Overview, links: Links) -> Iterator[tuple[str, Markup | str]]:
    """Pages of what the step's values name; plain text of what isn't there any more."""
    values = step.values

    def linked(is_there: bool, path: str, text: object) -> Markup | str:
        return html.link(links.to(path), text) if is_there else str(text)

    if step.name == "check" and step.record is not None and (data := step.record.inputs.get("dataset")):
        yield "data", dataset_link(overview, str(data), links)
    if step.name == "tune" and (name := values.get("name")):
        searches = overview.stored_searches().value or ()
        yield "search", linked(any(each.name == name for each in searches), f"/searches/{name}", name)
    if step.name == "profile" and (view.folder / "profile" / "profile.json").is_file():
        key = key_of(view.folder / "profile", overview.places.runs)
        yield "profile", linked(True, f"/profiles/{key}", "the whole profile")
    for job in (values.get("job"), _best(values)):
        if job:
            yield "job", linked(overview.job(str(job)).value is not None, f"/jobs/{job}", job)
    if step.name == "register" and (name := values.get("name")):
        is_there = any(each.name == name for each in overview.models().value or ())
        yield "model", linked(is_there, f"/models/{name}", f"{name}, version {values.get('version')}")
    if step.name == "deploy" and (name := values.get("endpoint")):
        endpoints = overview.endpoints().value or ()
        yield "endpoint", linked(any(each.name == name for each in endpoints), f"/endpoints/{name}", name)


def _best(values: dict[str, object]) -> object:
    best = values.get("best")
    return best.get("name") if isinstance(best, dict) else None


def _tone(step: StepView) -> Tone:
    return _TONES.get(step.state, "info")


def _anchor(step: StepView) -> str:
    return f"step-{step.name}"
