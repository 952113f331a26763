"""`breedclf evaluate MODEL DIR|TABLE`: evaluate a model on a split of a dataset."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from breedclf.cli.flags import add_settings_flags, given_settings
from breedclf.cli.terminal import Terminal
from breedclf.config import EvaluationConfig
from breedclf.config.groups import EVALUATION_GROUPS
from breedclf.files.paths import path_argument
from breedclf.reporting.formats import percent, plain
from breedclf.text.printable import visible_name

if TYPE_CHECKING:
    from breedclf.evaluation.metrics import Evaluation

_PAIRS_SHOWN = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model", metavar="MODEL", type=path_argument, help="model directory (OUT/model of a training run)"
    )
    parser.add_argument(
        "data",
        metavar="DIR|TABLE",
        type=path_argument,
        help="folder with SPLIT/CLASS/image.jpg, or with class folders, or table (.csv, .parquet)",
    )
    add_settings_flags(parser, EvaluationConfig, EVALUATION_GROUPS)


def run(arguments: argparse.Namespace, terminal: Terminal) -> int:
    from breedclf.evaluation.evaluate import evaluate

    config = EvaluationConfig(**given_settings(arguments, EvaluationConfig))
    result = evaluate(arguments.model, arguments.data, **_keywords(config))
    if count := len(result.skipped) + (len(result.unlike.skipped) if result.unlike else 0):
        terminal.note(f"{count} unreadable image{' was' if count == 1 else 's were'} skipped; the report lists them")
    terminal.result(result.model_dump(mode="json"), _as_text(result))
    return 0


def _keywords(config: EvaluationConfig) -> dict[str, Any]:
    return {name: getattr(config, name) for name in EvaluationConfig.model_fields}


def _as_text(result: Evaluation) -> str:
    from breedclf.evaluation.report import averaged_views, verdict

    _, heading, sentences = verdict(result)
    lines = [heading, *sentences, ""]
    if views := averaged_views(result):
        lines.append(views)
    if len(result.labels) > 5:
        lines.append(f"top-5 accuracy {percent(result.top5_accuracy)}")
    lines.append(f"loss {plain(result.loss)}, macro F1 {percent(result.macro_average.f1)}")
    lines += _trust_lines(result)
    shown = dict(zip(result.labels, map(visible_name, result.class_names), strict=True))
    if result.most_confused:
        lines.append("most confused:")
        lines += [
            f"  {shown[pair.true]} predicted as {shown[pair.predicted]}: {pair.count} ({percent(pair.share)})"
            for pair in result.most_confused[:_PAIRS_SHOWN]
        ]
    return "\n".join([*lines, f"report: {result.report}"])


def _trust_lines(result: Evaluation) -> Iterator[str]:
    """The answers "none of these", the calibration and the prediction sets, as far as they were measured."""
    if result.known_share is not None:
        yield f'{percent(result.known_share)} of the images are known, the others are answered "none of these"'
    if (unlike := result.unlike) is not None:
        low, high = unlike.let_through_interval
        yield (
            f"{percent(unlike.let_through)} of {unlike.count} unlike images are let through "
            f"(95% interval {percent(low)} to {percent(high)}), AUROC {unlike.auroc:.3f}"
        )
    if (found := result.calibration) is not None and found.temperature != 1:
        yield f"calibration: loss {plain(found.nll_before)} before, {plain(found.nll_after)} after"
    if (sets := result.coverage) is not None:
        yield (
            f"prediction sets for {percent(sets.asked)} contain the right class in {percent(sets.measured)} of the "
            f"images; their mean size is {plain(sets.mean_size)}"
        )
