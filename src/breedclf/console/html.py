"""The parts of console pages that reports don't have: badges of a status, times in the reader's zone, buttons."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from breedclf.console.content import Action, Links, Parameters
from breedclf.overview.lists import Paged
from breedclf.overview.looks import Look
from breedclf.reporting.blocks import callout
from breedclf.reporting.formats import seconds as as_duration
from breedclf.reporting.page import Section, as_block

_TONES = {
    "Completed": "ok",
    "InService": "ok",
    "Failed": "bad",
    "Damaged": "bad",
    "Refused": "bad",
    "Stopped": "issue",
    "Stopping": "issue",
    "Interrupted": "issue",
    "RollingBack": "issue",
}


@cache
def environment() -> Environment:
    """The templates of the console, which may include those of reports."""
    return Environment(
        loader=ChoiceLoader(
            [PackageLoader("breedclf.console", "templates"), PackageLoader("breedclf.reporting", "templates")]
        ),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render(template: str, **values: object) -> Markup:
    """Render a template of the console with escaping."""
    return Markup(environment().get_template(template).render(**values))


def badge(status: str) -> Markup:
    """A status in SageMaker's words; its color only repeats the word."""
    return Markup('<span class="badge status tone-{}">{}</span>').format(_TONES.get(status, "info"), status)


def moment(seconds: float | None) -> Markup:
    """A time: UTC without scripts, the reader's own zone with them."""
    if seconds is None:
        return Markup("–")
    at = _at(seconds)
    return Markup('<time datetime="{}">{}</time>').format(
        at.isoformat(timespec="milliseconds"), at.strftime("%Y-%m-%d %H:%M:%S UTC")
    )


def _at(seconds: float) -> datetime:
    """A time, within the years that a clock that is wrong may name."""
    return datetime.fromtimestamp(min(max(seconds, 0.0), 253_402_300_799.0), UTC)


def running(started: float | None, ended: float | None) -> Markup:
    """A duration; that of something that hasn't ended counts up in the browser."""
    if started is None:
        return Markup("–")
    if ended is None:
        return _counting("since", started)
    return Markup("{}").format(as_duration(max(0.0, ended - started)))


def left(until: float | None) -> Markup:
    """The time that is left, which counts down in the browser."""
    return Markup("–") if until is None else _counting("until", until)


def _counting(word: str, seconds: float) -> Markup:
    at = _at(seconds)
    return Markup('<time class="{}" datetime="{}">{} {}</time>').format(
        word, at.isoformat(timespec="milliseconds"), word, at.strftime("%Y-%m-%d %H:%M UTC")
    )


def link(address: str, text: object) -> Markup:
    """A link."""
    return Markup('<a href="{}">{}</a>').format(address, text)


def code(text: str, *, label: str = "") -> Markup:
    """Code or a command that can be copied."""
    return render("code.html.j2", text=text, label=label)


def actions(choices: Sequence[Action], links: Links) -> Markup:
    """Buttons, each with the command that does the same; only the commands where nothing may be done."""
    return render("actions.html.j2", actions=choices, may_act=links.may_act)


def section(content: Section) -> Markup:
    """A section of a report: its heading, its introduction and its blocks."""
    lead = Markup('<p class="lead">{}</p>').format(content.lead) if content.lead else ""
    blocks = Markup("").join(as_block(each) for each in content.blocks)
    return Markup('<h2>{}</h2>{}<div class="blocks">{}</div>').format(content.heading, lead, blocks)


def field_action(action: Action, links: Links, *, field: str, label: str, most: int) -> Markup:
    """A button with an input of at most `most` characters, which becomes the action's field of this name."""
    return render("field_action.html.j2", action=action, may_act=links.may_act, field=field, label=label, most=most)


def page_number(parameters: Parameters) -> int:
    """The page of a list that an address names; the first if it names none."""
    text = parameters.get("page", "")
    return int(text) if text.isdecimal() and len(text) < 9 else 1


def paging(found: Paged[Any], what: str, address: Callable[[int], str]) -> Markup:
    """Links to the pages beside one, by the address of each; nothing for a list of one page."""
    if found.pages == 1:
        return Markup("")
    parts = [Markup("<span>Page {} of {}</span>").format(found.page, found.pages)]
    if found.page > 1:
        parts.insert(0, link(address(found.page - 1), "Newer"))
    if found.page < found.pages:
        parts.append(link(address(found.page + 1), "Older"))
    return Markup('<nav class="pages" aria-label="Pages of {}">{}</nav>').format(what, Markup(" ").join(parts))


def problem(look: Look[Any]) -> Markup:
    """Why the last look failed, or that it is still to come; nothing if it succeeded."""
    if not look.problem:
        return Markup("")
    if look.is_waiting:
        due = "" if look.due is None else Markup("The next look is at {}.").format(moment(look.due))
        return callout("info", "Waiting for the backend", look.problem, *([due] if due else []))
    known = Markup("Below is what was seen at {}.").format(moment(look.time)) if look.value is not None else ""
    return callout("bad", "The backend can't be asked", look.problem, *([known] if known else []))
