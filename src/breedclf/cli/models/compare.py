"""`breedclf models compare`: two versions of a model, or two model directories, on the same images."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from breedclf.cli.flags import add_settings_flags, given_settings
from breedclf.cli.models.action import ModelsAction
from breedclf.cli.terminal import Terminal
from breedclf.config import EvaluationConfig
from breedclf.config.groups import FEATURE_REUSE_GROUPS
from breedclf.errors import ConfigError
from breedclf.files.paths import path_argument, user_path
from breedclf.model_store.store import ModelStore
from breedclf.text.plain_json import plain_json
from breedclf.text.printable import visible_name

if TYPE_CHECKING:
    from breedclf.model_store.comparison import ModelComparison

JSON_FILE, REPORT_FILE = "comparison.json", "report.html"
_CLASSES_SHOWN = 5
_SETTINGS: dict[str, tuple[str, ...]] = {
    "images": ("split", "labels", "on_bad_image", "tta"),
    **FEATURE_REUSE_GROUPS,
    "speed and memory": ("device", "precision", "batch_size", "workers"),
}
_USAGE = "NAME A B DATA, or DIR_A DIR_B DATA"


def _add_arguments(compare: argparse.ArgumentParser) -> None:
    """The arguments of this action of `breedclf models`, which adds those of all its actions."""
    compare.add_argument(
        "models",
        metavar="NAME A B DATA",
        nargs="+",
        help="name of a model, two of its versions or aliases, and a folder or table of images; or two model "
        "directories and the images",
    )
    compare.add_argument(
        "--data",
        type=path_argument,
        metavar="DIR|TABLE",
        dest="images",
        help="the images, in place of the last argument",
    )
    compare.add_argument(
        "--output",
        type=path_argument,
        metavar="DIR",
        dest="folder",
        help=f"write {REPORT_FILE}, which shows the images that the models predict differently, and {JSON_FILE}",
    )
    compare.add_argument(
        "--explain",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="show in the report what speaks for both answers; up to 24 images pass through both networks again",
    )
    add_settings_flags(compare, EvaluationConfig, _SETTINGS)


def _run(store: ModelStore, arguments: argparse.Namespace, terminal: Terminal) -> None:
    """Compare, and write the report if asked to."""
    from breedclf.files.disk import write_output
    from breedclf.model_store.compare import compare_models
    from breedclf.training.results.output_folder import own_output

    config = EvaluationConfig(**given_settings(arguments, EvaluationConfig))
    names, (first, second), data = _compared(arguments.models, arguments.images, store)
    folder = None if arguments.folder is None else own_output(arguments.folder)
    keywords = {name: getattr(config, name) for group in _SETTINGS.values() for name in group}
    comparison = compare_models(first, second, data, names=names, **keywords)
    if comparison.skipped:
        terminal.note(f"{len(comparison.skipped)} unreadable images were skipped")
    document, text = comparison.to_dict(), _as_text(comparison)
    if folder is not None:
        report = folder / REPORT_FILE
        comparison.report(report, explain=arguments.explain)
        document["report"], text = str(report), f"{text}\nreport: {report}"
        write_output(folder / JSON_FILE, plain_json(document, indent=2) + "\n", "make room, or choose another --output")
    terminal.result(document, text)


def _compared(
    words: Sequence[str], images: Path | None, store: ModelStore
) -> tuple[tuple[str, str] | None, tuple[Path, Path], Path]:
    """How the two models are shown, their directories, and the images.

    Raises:
        ConfigError: there are too few or too many words, or the store has no such version.
    """
    models, data = (list(words[:-1]), words[-1]) if images is None else (list(words), images)
    if len(models) == 3:
        name, a, b = models
        versions = [store.record(name).version(each).version for each in (a, b)]
        first, second = (store.model_directory(name, version) for version in versions)
        return (f"{name} {versions[0]}", f"{name} {versions[1]}"), (first, second), user_path(data, "data")
    if len(models) != 2:
        raise ConfigError(f"breedclf models compare takes {_USAGE}; there are {len(models)} words before the images")
    if images is None and words[0] in store.names:
        raise ConfigError(f"give the images to compare {words[0]} {words[1]} and {words[2]} on: {_USAGE}")
    return None, (user_path(models[0], "model"), user_path(models[1], "model")), user_path(data, "data")


def _as_text(comparison: ModelComparison) -> str:
    low, high = comparison.difference_interval
    lines = [comparison.verdict]
    for name, accuracy, interval in (
        (comparison.a, comparison.accuracy_a, comparison.interval_a),
        (comparison.b, comparison.accuracy_b, comparison.interval_b),
    ):
        lines.append(f"{name}: {accuracy:.1%} correct (95% interval {interval[0]:.1%} to {interval[1]:.1%})")
    lines.append(
        f"difference: {100 * comparison.difference:+.2f} points (95% interval {100 * low:+.2f} to {100 * high:+.2f})"
    )
    lines.append(f"both correct: {comparison.both:,}, neither: {comparison.neither:,}")
    if changed := comparison.changed_classes:
        lines.append("classes that changed most:")
        lines += [
            f"  {visible_name(each.label)}: {each.only_second} mended, {each.only_first} broken, of {each.count}"
            for each in changed[:_CLASSES_SHOWN]
        ]
    return "\n".join(lines)


ACTION = ModelsAction("compare two versions, or two model directories, on the same images", _run, _add_arguments)
