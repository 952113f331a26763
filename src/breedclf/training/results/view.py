"""What a notebook shows of a training run: the best epoch, the losses as a chart, and the last epochs as a table."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from breedclf.reporting import formats
from breedclf.reporting.blocks import Column, Tile, details, facts, table, tiles
from breedclf.reporting.charts import Reference, Series, line_chart
from breedclf.reporting.notebook import notebook_view

if TYPE_CHECKING:
    from breedclf.training.results.result import FitResult

_ROWS = 12


def result_view(result: FitResult) -> str:
    """The HTML of a `FitResult`."""
    best, history = result.best, result.history
    epochs = [record.epoch for record in history]
    headline = tiles(
        [
            Tile("best epoch", f"{best.epoch} of {len(history)}", tone="ok"),
            Tile("valid accuracy", formats.percent(best.valid_accuracy)),
            Tile("valid loss", formats.plain(best.valid_loss)),
            *([] if math.isnan(result.seconds) else [Tile("duration", formats.seconds(result.seconds))]),
        ]
    )
    chart = line_chart(
        "Loss by epoch",
        [
            Series("training", epochs, [record.train_loss for record in history]),
            Series("validation", epochs, [record.valid_loss for record in history]),
        ],
        x_label="epoch",
        whole_x=True,
        references=[Reference(best.epoch, "best")],
    )
    rows = [
        (each.epoch, each.train_loss, each.valid_loss, each.valid_accuracy, each.images_per_second)
        for each in history[-_ROWS:]
    ]
    columns = [
        Column("epoch", numeric=True),
        Column("train loss", numeric=True, format=formats.plain),
        Column("valid loss", numeric=True, format=formats.plain),
        Column("valid accuracy", numeric=True, format=formats.percent),
        Column("images/s", numeric=True, format=formats.whole),
    ]
    caption = "Epochs" if len(history) <= _ROWS else f"The last {_ROWS} of {len(history)} epochs"
    skipped = [("skipped", f"{len(result.skipped)} unreadable images")] if result.skipped else []
    blocks = [headline, *([chart] if len(history) > 1 else [])]
    where = facts([("model", str(result.artifact)), *skipped])
    return notebook_view("Training run", *blocks, details(caption, table("", columns, rows)), where)
