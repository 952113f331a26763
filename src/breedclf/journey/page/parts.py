"""Blocks that only this page has: the row of steps, the line below a heading, code to copy, and answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from markupsafe import Markup

from breedclf.journey.record import StepRecord, StepStatus
from breedclf.reporting import formats
from breedclf.reporting.blocks import GalleryImage, Tone, details
from breedclf.reporting.page import environment

HEADINGS = {
    "check": "The data",
    "backbones": "The backbone",
    "tune": "The search",
    "best": "The best settings",
    "profile": "Where time goes",
    "evaluate": "The accuracy",
    "review": "The labels",
    "gate": "The gate",
    "register": "The version",
    "deploy": "The endpoint",
    "predict": "The answers",
    "clean-up": "The end",
}
"""The heading of each step, in their order."""

_TONES: dict[StepStatus, Tone] = {
    "Completed": "ok", "Failed": "bad", "Refused": "issue", "Skipped": "info", "InProgress": "info"
}  # fmt: skip
_WORDS: dict[StepStatus, str] = {
    "Completed": "done", "Failed": "failed", "Refused": "refused", "Skipped": "skipped", "InProgress": "in progress"
}  # fmt: skip
_MARKS: dict[StepStatus, str] = {
    "Completed": "✓", "Failed": "✕", "Refused": "!", "Skipped": "–", "InProgress": "…"
}  # fmt: skip


@dataclass(frozen=True)
class StepItem:
    """A step in the row of steps; without an anchor it hasn't run."""

    name: str
    anchor: str
    tone: Tone
    mark: str
    state: str
    time: str = ""


def row_of_steps(steps: Sequence[StepRecord], anchors: dict[str, str]) -> Markup:
    """All steps with their states, as links to their sections."""
    taken = {step.name: step for step in steps}
    items = []
    for name, heading in HEADINGS.items():
        if (step := taken.get(name)) is None:
            items.append(StepItem(heading, "", "info", "·", "not yet"))
            continue
        items.append(
            StepItem(
                heading, anchors[name], _TONES[step.status], _MARKS[step.status], _WORDS[step.status], time_text(step)
            )
        )
    return row_of_items(items)


def row_of_items(items: Sequence[StepItem]) -> Markup:
    """Steps side by side."""
    return _macro("steps", items)


def state_line(tone: Tone, state: str, time: object, report: str | None) -> Markup:
    """A state and a time, and a link to a report."""
    return _macro("line", tone, state, time, report, "Full report")


def step_line(step: StepRecord) -> Markup:
    """The state and the time of a step, and a link to its report."""
    return _macro(
        "line", _TONES[step.status], _WORDS[step.status], time_text(step), link_to(step.outcome.report), "Full report"
    )


def link_to(report: str | None) -> str | None:
    """The URL of a report in the journey's folder; None for another place, which a moved page couldn't reach."""
    return None if report is None or report.startswith("/") else quote(report)


def time_text(step: StepRecord) -> str:
    """How long a step took; empty if it was skipped."""
    return "" if step.status == "Skipped" else duration(step.seconds)


def duration(value: float) -> str:
    """Seconds with one digit, as precise as a step's time is worth.

    Example:
        >>> duration(0.004), duration(3.1416), duration(75)
        ('< 0.1 s', '3.1 s', '1 min 15 s')
    """
    if 0 < value < 0.05:
        return "< 0.1 s"
    return f"{value:.1f} s" if value < 59.95 else formats.seconds(value)


def numbered(name: str) -> str:
    """The heading of a step with its number."""
    return f"{[*HEADINGS].index(name) + 1}. {HEADINGS[name]}" if name in HEADINGS else name


def alone(step: StepRecord) -> list[Markup]:
    """How to do a step without the journey."""
    if step.status == "Skipped" or not (step.python or step.command):
        return []
    given = [("Python", step.python), ("Command", step.command)]
    return [details("This step alone", *(_macro("code", name, text) for name, text in given if text))]


def answer(
    photo: GalleryImage | None,
    explained: GalleryImage | None,
    heading: str,
    state: tuple[Tone, str],
    bars: Markup,
    lines: Sequence[str],
) -> Markup:
    """A prediction: the image, the map over it, and the most probable classes."""
    return _macro("answer", photo, explained, heading, *state, bars, lines)


def listed(blocks: Sequence[Markup]) -> Markup:
    """Answers, one below the other."""
    return Markup('<div class="answers">{}</div>').format(Markup("").join(blocks))


def _macro(name: str, *values: object) -> Markup:
    module = environment().get_template("journey.html.j2").module
    return Markup(getattr(module, name)(*values))
