"""What a notebook shows of an evaluation: the metrics, the weakest classes, and what is confused most often."""

from __future__ import annotations

from typing import TYPE_CHECKING

from breedclf.reporting import formats
from breedclf.reporting.blocks import Column, Tile, details, facts, table, tiles
from breedclf.reporting.notebook import notebook_view

if TYPE_CHECKING:
    from breedclf.evaluation.metrics import Evaluation

_ROWS = 8


def evaluation_view(evaluation: Evaluation) -> str:
    """The HTML of an `Evaluation`."""
    low, high = evaluation.accuracy_interval
    headline = [
        Tile(
            "accuracy",
            formats.percent(evaluation.accuracy),
            f"95% interval {formats.percent(low)} to {formats.percent(high)}",
            "ok",
        ),
        Tile("top 5", formats.percent(evaluation.top5_accuracy)),
        Tile("loss", formats.plain(evaluation.loss)),
        Tile("images", formats.whole(evaluation.count), f"{len(evaluation.labels)} classes"),
    ]
    weakest = sorted(
        (each for each in evaluation.per_class if each.recall is not None), key=lambda each: each.recall or 0.0
    )[:_ROWS]
    classes = table(
        "",
        ["class", _shares("recall"), _shares("precision"), Column("images", numeric=True)],
        [(each.class_name, each.recall, each.precision, each.support) for each in weakest],
    )
    names = dict(zip(evaluation.labels, evaluation.class_names, strict=True))
    confused = table(
        "",
        ["class", "predicted as", Column("images", numeric=True)],
        [(names[each.true], names[each.predicted], each.count) for each in evaluation.most_confused[:_ROWS]],
    )
    skipped = [("skipped", f"{len(evaluation.skipped)} unreadable images")] if evaluation.skipped else []
    report = [] if evaluation.report is None else [("report", evaluation.report)]
    return notebook_view(
        f"Evaluation on the {evaluation.split} images" if evaluation.split else "Evaluation",
        tiles(headline),
        details("Classes with the lowest recall", classes),
        details("Most confused classes", confused),
        *([facts([*report, *skipped])] if report or skipped else []),
    )


def _shares(name: str) -> Column:
    return Column(name, numeric=True, format=formats.percent)
