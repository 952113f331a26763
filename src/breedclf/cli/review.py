"""`breedclf data review`: wrong labels, near duplicates and outliers of a labeled dataset, and a corrected copy."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from breedclf.cli import EXIT_PROBLEMS_FOUND
from breedclf.cli.common import add_common_options
from breedclf.cli.flags import add_data_argument, add_settings_flags, training_config
from breedclf.cli.terminal import Terminal
from breedclf.config import TrainingConfig
from breedclf.config.groups import FEATURE_REUSE_GROUPS
from breedclf.errors import ConfigError
from breedclf.files.paths import path_argument
from breedclf.text.plain_json import plain_json

if TYPE_CHECKING:
    from breedclf.label_review.result import Review

JSON_FILE, REPORT_FILE, MOVES_FILE, NEW_MOVES_FILE = "review.json", "report.html", "moves.csv", "moves.new.csv"
_DEFAULT_OUTPUT = Path("runs/review")
_SETTINGS: dict[str, tuple[str, ...]] = {
    "backbone": ("architecture", "weights", "accept_license"),
    "data": ("labels", "valid_share", "test_share", "split_seed", "dct_scaling"),
    **FEATURE_REUSE_GROUPS,
    "speed and memory": ("device", "precision", "engine", "workers", "chunk_size", "channels_last"),
}


def add_arguments(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `review` to the actions of `breedclf data`."""
    review = actions.add_parser(
        "review", help="find wrong labels, near duplicates and outliers; writes nothing into DIR"
    )
    add_data_argument(review)
    review.add_argument(
        "--apply",
        type=path_argument,
        metavar="NEWDIR",
        help=f"write a new folder of links with the moves of {MOVES_FILE} applied",
    )
    review.add_argument(
        "--moves", type=path_argument, metavar="FILE", help=f"moves to apply (default: {MOVES_FILE} in the output)"
    )
    review.add_argument(
        "--min-accuracy",
        type=float,
        default=0.7,
        metavar="SHARE",
        help="list no suspects if fewer images are predicted as labeled (default: 0.7)",
    )
    review.add_argument(
        "--min-probability",
        type=float,
        default=0.2,
        metavar="SHARE",
        help="list suspects that are wrong with at least this probability (default: 0.2)",
    )
    review.add_argument("--config", type=path_argument, metavar="FILE", help="settings from a YAML, TOML or JSON file")
    review.add_argument(
        "--output",
        type=path_argument,
        metavar="DIR",
        dest="folder",
        default=_DEFAULT_OUTPUT,
        help=f"folder for {JSON_FILE}, {REPORT_FILE} and {MOVES_FILE} (default: {_DEFAULT_OUTPUT})",
    )
    add_settings_flags(review, TrainingConfig, _SETTINGS)
    add_common_options(review)


def run(arguments: argparse.Namespace, terminal: Terminal) -> int:
    """Review, write the results, and apply moves if asked to."""
    from breedclf.files.disk import write_output
    from breedclf.label_review.review import review
    from breedclf.label_review.text import as_text
    from breedclf.training.results.output_folder import own_output, writable

    if arguments.moves is not None and arguments.apply is None:
        raise ConfigError("--moves is read by --apply only: add --apply NEWDIR")
    config = training_config(arguments)
    folder = own_output(arguments.folder)
    writable(folder)
    found = review(config, min_accuracy=arguments.min_accuracy, min_probability=arguments.min_probability)
    report = folder / REPORT_FILE
    found.report(report)
    moves = _write_moves(found, folder, terminal)
    document = {
        "folder": None if config.data is None else str(config.data.absolute()),
        **found.to_dict(),
        "report": str(report),
        "moves": str(moves),
    }
    text = f"{as_text(found)}\nreport: {report}\nmoves: {moves}"
    if arguments.apply is not None:
        applied = found.apply(arguments.apply, arguments.moves or folder / MOVES_FILE)
        document["applied"] = str(applied)
        text += f"\nnew folder: {applied}"
    write_output(folder / JSON_FILE, plain_json(document, indent=2) + "\n", "make room, or choose another --output")
    terminal.result(document, text)
    return 0 if found.clean else EXIT_PROBLEMS_FOUND


def _write_moves(found: Review, folder: Path, terminal: Terminal) -> Path:
    """Write the proposed moves; a table that is there already may be edited, and stays."""
    from breedclf.label_review.moves import moves_of, moves_text

    path = folder / MOVES_FILE
    if not path.exists() or path.read_text(encoding="utf-8", errors="replace") == moves_text(moves_of(found)):
        found.moves(path)
        return path
    found.moves(folder / NEW_MOVES_FILE)
    terminal.note(
        f"{path} is there already and stays, since it may be edited; new proposals: {folder / NEW_MOVES_FILE}"
    )
    return path
