"""The whole page, as a pure function: what came of the journey, its steps, and what each took."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from markupsafe import Markup

from breedclf.journey.page.data import data_blocks, label_blocks
from breedclf.journey.page.material import Material
from breedclf.journey.page.parts import HEADINGS, alone, duration, numbered, row_of_steps, step_line
from breedclf.journey.page.quality import accuracy_blocks, gate_blocks
from breedclf.journey.page.search import best_blocks, search_blocks, time_blocks
from breedclf.journey.page.service import answer_blocks, endpoint_blocks, version_blocks
from breedclf.journey.record import JourneyRecord, StepRecord
from breedclf.reporting import Section, render_page
from breedclf.reporting.blocks import Tile, Tone, callout, tiles
from breedclf.reporting.charts import Bar, bar_chart
from breedclf.reporting.formats import percent, whole
from breedclf.tuning.table import value_text

Block = Markup | str

_BLOCKS: Mapping[str, Callable[[StepRecord, Material], Iterator[Block]]] = {
    "check": data_blocks,
    "tune": search_blocks,
    "best": best_blocks,
    "profile": time_blocks,
    "evaluate": accuracy_blocks,
    "review": label_blocks,
    "gate": gate_blocks,
    "register": version_blocks,
    "deploy": endpoint_blocks,
    "predict": answer_blocks,
}


@dataclass(frozen=True)
class State:
    """What came of the journey so far, in words."""

    tone: Tone
    heading: str
    sentences: tuple[str, ...]


def journey_page(record: JourneyRecord, material: Material, *, made_by: str = "breedclf") -> str:
    """Render the page about a journey that has ended, failed, was refused, or is under way.

    Equal arguments give equal pages. Links are relative to the journey's folder, which can be moved.
    """
    state = state_of(record)
    sections = [_section(step, material) for step in record.steps]
    anchors = {step.name: section.anchor for step, section in zip(record.steps, sections, strict=True)}
    return render_page(
        f"The journey of {material.name}",
        [*sections, *([_what_it_took(record)] if record.steps else [])],
        subtitle=material.data,
        summary=[callout(state.tone, state.heading, *state.sentences), tiles(_headline(record, material))],
        made_by=made_by,
        navigation=row_of_steps(record.steps, anchors),
        style="journey.css",
    )


def state_of(record: JourneyRecord) -> State:
    """Whether the journey has ended, and how."""
    total = len(HEADINGS)
    for number, step in enumerate(record.steps, 1):
        if step.status == "Failed":
            heading = f"Step {number} of {total} failed: {HEADINGS[step.name].lower()}"
            return State("bad", heading, (step.outcome.headline, "The same command continues with this step."))
        if step.status == "Refused":
            return State("issue", "The gate refused the model", (step.outcome.headline,))
    done = [step for step in record.steps if step.status in ("Completed", "Skipped")]
    if len(done) < total:
        next_step = next(heading for name, heading in HEADINGS.items() if name not in {each.name for each in done})
        return State(
            "info",
            f"Under way: {len(done)} of {total} steps are done",
            (
                f"Next: {next_step.lower()}. This page is written again after each step.",
                "If no journey is running, it was interrupted: the same command continues there.",
            ),
        )
    return State("ok", _outcome(record), (done[-1].outcome.headline,))


def _outcome(record: JourneyRecord) -> str:
    """What was achieved, in one sentence."""
    version, evaluated = record.step("register"), record.step("evaluate")
    values = {} if version is None else version.outcome.values
    name = f"Version {values['version']} of {values['name']}" if {"name", "version"} <= set(values) else "The model"
    accuracy = f": {evaluated.outcome.headline}" if evaluated else "."
    return f"{name} was tuned, checked and deployed{accuracy}"


def _headline(record: JourneyRecord, material: Material) -> Iterator[Tile]:
    found = {step.name: step.outcome.values for step in record.steps}
    if (data := record.step("check")) is not None and data.outcome.figures:
        classes = next((each.value for each in data.outcome.figures if each.label == "Classes"), "")
        yield Tile("Images", data.outcome.figures[0].value, f"of {classes} classes" if classes else "")
    if "trials" in found.get("tune", {}):
        best = material.study.best if material.study else None
        note = "" if best is None else ", ".join(f"{k} {value_text(v)}" for k, v in best.hyperparameters.items())
        yield Tile("Trials", whole(found["tune"]["trials"]), f"best: {note}" if note else "")
    if (result := material.evaluation) is not None:
        low, high = result.accuracy_interval
        yield Tile("Test accuracy", percent(result.accuracy), f"95% interval {percent(low)} to {percent(high)}")
    if "version" in found.get("register", {}):
        yield Tile("Version", str(found["register"]["version"]), f"of {material.name}")
    if (asked := record.step("predict")) is not None and asked.outcome.figures:
        yield Tile("Predictions", asked.outcome.figures[0].value, "by the endpoint")
    if record.steps:
        yield Tile("Time", duration(sum(step.seconds for step in record.steps)), f"{len(record.steps)} steps")


def _section(step: StepRecord, material: Material) -> Section:
    blocks: list[Block] = [step_line(step)]
    if step.status in ("Completed", "Refused") and (about := _BLOCKS.get(step.name)) is not None:
        blocks += about(step, material)
    return Section(numbered(step.name), [*blocks, *alone(step)], lead=step.outcome.headline)


def _what_it_took(record: JourneyRecord) -> Section:
    bars = [Bar(HEADINGS.get(step.name, step.name), step.seconds) for step in record.steps if step.status != "Skipped"]
    total = sum(step.seconds for step in record.steps)
    chart = bar_chart("Time of each step", bars, format=duration, full=True)
    lead = f"{duration(total)} in all. A step whose inputs haven't changed isn't repeated by the next run."
    return Section("What it took", [chart], lead=lead)
