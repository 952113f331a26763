"""The page's sections about the dataset: what it is, and which labels may be wrong."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from breedclf.journey.figures import ExampleImage, SuspectImage, parsed
from breedclf.journey.page.material import Material, present
from breedclf.journey.record import StepRecord
from breedclf.reporting.blocks import Column, callout, details, facts, gallery, table
from breedclf.reporting.formats import percent, whole

Block = Markup | str

_MOST_PROBLEMS = 10
_SPLITS = ("train", "valid", "test")


def data_blocks(step: StepRecord, material: Material) -> Iterator[Block]:
    """Example images, the sizes of splits and images, problems, and the images of each class."""
    values = step.outcome.values
    examples = parsed(ExampleImage, values.get("examples"))
    shown = present(
        material.image(each.path, f"a training image of {each.class_name}", [each.class_name]) for each in examples
    )
    if shown:
        yield gallery(shown, per_row=3)
    yield facts(_sizes(values))
    problems = values.get("problems") or ()
    if problems:
        rows = [(each.get("kind"), each.get("path"), each.get("detail")) for each in problems[:_MOST_PROBLEMS]]
        more = f", the first {_MOST_PROBLEMS} of {len(problems):,}" if len(problems) > _MOST_PROBLEMS else ""
        yield table(f"Problems{more}", ["Problem", "Image", "Detail"], rows)
    if isinstance(classes := values.get("classes"), Mapping):
        heads: list[Column | str] = ["Class", *(Column(split, True, whole) for split in _SPLITS)]
        rows = [(name, *(counts.get(split) for split in _SPLITS)) for name, counts in classes.items()]
        yield details("Images of each class", table("Images of each class", heads, rows))


def _sizes(values: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    if splits := values.get("splits"):
        yield "Splits", ", ".join(f"{count:,} {name}" for name, count in splits.items())
    width, height = values.get("width_px"), values.get("height_px")
    if width and height:
        yield "Median size", f"{width['median']:,} x {height['median']:,} px"
    if formats := values.get("formats"):
        yield "Formats", ", ".join(f"{count:,} {name}" for name, count in formats.items())
    if converted := values.get("converted"):
        yield "Converted to sRGB", f"{converted:,} images with another color profile"


def label_blocks(step: StepRecord, material: Material) -> Iterator[Block]:
    """The most suspicious labels, with their images."""
    values = step.outcome.values
    if refused := values.get("refused"):
        yield callout("info", "Labels aren't reviewed", f"{refused}.")
    suspects = parsed(SuspectImage, values.get("first"))
    if not suspects:
        return
    yield (
        "These labels disagree most with a model that was trained on the other images. Look at them before you "
        "correct any: a rare view of the right class looks the same to a model."
    )
    yield gallery(
        present(
            material.image(
                each.path,
                f"an image labeled {each.given}, which looks like {each.proposed}",
                [
                    f"labeled {each.given}",
                    f"looks like {each.proposed}",
                    f"wrong with {percent(each.probability_wrong)}",
                ],
            )
            for each in suspects
        )
    )
    yield from _names(suspects)


def _names(suspects: Sequence[SuspectImage]) -> Iterator[Markup]:
    rows = [(each.path, each.given, each.proposed, each.probability_wrong) for each in suspects]
    columns: list[Column | str] = ["Image", "Label", "Proposed", Column("Probably wrong", True, percent)]
    yield details("Their files", table("Suspicious labels", columns, rows))
