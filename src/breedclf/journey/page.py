"""The page about a journey: its steps, their figures, and links to their reports."""

from __future__ import annotations

from pathlib import Path

from markupsafe import Markup

from breedclf._version import __version__
from breedclf.files.disk import write_output
from breedclf.journey.record import StepRecord
from breedclf.journey.step import JourneyContext
from breedclf.reporting import Section, render_page
from breedclf.reporting.blocks import Tile, details, tiles
from breedclf.reporting.formats import seconds


def write_page(path: Path, context: JourneyContext) -> None:
    """Write the page.

    Raises:
        DiskError: the disk refuses.
    """
    steps = context.record.steps
    summary = [Tile(each.label, each.value, each.note) for step in steps for each in step.outcome.figures[:1]]
    page = render_page(
        f"The journey of {context.settings.model_name}",
        [_section(step) for step in steps],
        subtitle=f"{context.settings.data}",
        summary=[tiles(summary)],
        made_by=f"breedclf {__version__}",
    )
    write_output(path, page)


def _section(step: StepRecord) -> Section:
    blocks: list[Markup | str] = [step.outcome.headline]
    if step.outcome.figures:
        blocks.append(tiles(Tile(each.label, each.value, each.note) for each in step.outcome.figures))
    if step.outcome.report:
        blocks.append(Markup('<p><a href="{0}">{0}</a></p>').format(step.outcome.report))
    blocks.append(details("Do it alone", Markup("<pre>{}\n{}</pre>").format(step.python, step.command)))
    return Section(step.name, blocks, lead=f"{step.status}, {seconds(step.seconds)}")
