"""`breedclf backbones list|compare`: the networks that there are, and which one suits the images at hand."""

from __future__ import annotations

import argparse
from pathlib import Path

from breedclf.cli.common import add_common_options
from breedclf.cli.flags import add_data_argument, add_settings_flags, training_config
from breedclf.cli.terminal import Terminal
from breedclf.config import TrainingConfig
from breedclf.config.groups import FEATURE_REUSE_GROUPS
from breedclf.errors import ConfigError
from breedclf.files.paths import path_argument
from breedclf.text.plain_json import plain_json
from breedclf.tuning.flag_values import network_weights

JSON_FILE, REPORT_FILE = "comparison.json", "report.html"
_DEFAULT_OUTPUT = Path("runs/backbones")
_SETTINGS: dict[str, tuple[str, ...]] = {
    "heads": (
        "epochs",
        "batch_size",
        "learning_rate",
        "optimizer",
        "momentum",
        "weight_decay",
        "schedule",
        "warmup_epochs",
        "head",
        "label_smoothing",
        "class_weights",
        "mixup",
        "seed",
    ),
    "data": ("labels", "on_bad_image", "valid_share", "test_share", "split_seed", "dct_scaling", "accept_license"),
    **FEATURE_REUSE_GROUPS,
    "speed and memory": ("device", "precision", "engine", "workers", "chunk_size", "channels_last"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="list networks with their published accuracy; downloads nothing")
    listing.add_argument(
        "--timm", metavar="PATTERN", help="list those of timm with such names, as in --timm 'convnext*' (an extra)"
    )
    compare = actions.add_parser(
        "compare", help="compare networks on the training and validation images, on this machine"
    )
    add_data_argument(compare)
    compare.add_argument(
        "--candidates",
        metavar="A,B",
        required=True,
        help="networks, as in --architecture; the others are tested against the first",
    )
    compare.add_argument(
        "--weights",
        metavar="WEIGHTS|NAME=FILE",
        dest="candidate_weights",
        action="append",
        default=[],
        help="weights of a candidate, a name or a file; repeat it for others; a name alone is for all",
    )
    compare.add_argument(
        "--budget", metavar="TIME", help="time for it, such as 90s, 20m or 1h; if it is short, some images are used"
    )
    compare.add_argument("--config", type=path_argument, metavar="FILE", help="settings from a YAML, TOML or JSON file")
    compare.add_argument(
        "--output",
        type=path_argument,
        metavar="DIR",
        dest="folder",
        default=_DEFAULT_OUTPUT,
        help=f"folder for {JSON_FILE} and {REPORT_FILE} (default: {_DEFAULT_OUTPUT})",
    )
    compare.add_argument("--report", type=path_argument, metavar="FILE", help="HTML report (default: in the output)")
    add_settings_flags(compare, TrainingConfig, _SETTINGS)
    for action in (listing, compare):
        add_common_options(action)


def run(arguments: argparse.Namespace, terminal: Terminal) -> int:
    return _list(arguments, terminal) if arguments.action == "list" else _compare(arguments, terminal)


def _list(arguments: argparse.Namespace, terminal: Terminal) -> int:
    from breedclf.backbones.catalogue import timm_backbones, torchvision_backbones
    from breedclf.backbones.text import list_text

    found = torchvision_backbones() if arguments.timm is None else timm_backbones(arguments.timm)
    more = "\ntop-1: published accuracy on ImageNet. Those of timm: breedclf backbones list --timm 'PATTERN'"
    terminal.result(
        {"backbones": [each.to_dict() for each in found]}, list_text(found) + ("" if arguments.timm else more)
    )
    return 0


def _compare(arguments: argparse.Namespace, terminal: Terminal) -> int:
    from breedclf.backbones.budget import budget_in_seconds
    from breedclf.backbones.compare import compare_backbones
    from breedclf.backbones.text import comparison_text, next_command
    from breedclf.files.disk import write_output
    from breedclf.training.results.output_folder import own_output, writable

    shared, weights = _weights(arguments.candidate_weights)
    config = training_config(arguments)
    if shared is not None:
        config = config.replace(weights=shared)
    budget = None if arguments.budget is None else budget_in_seconds(arguments.budget)
    folder = own_output(arguments.folder)
    report = arguments.report or folder / REPORT_FILE
    if report.is_dir():
        raise ConfigError(f"--report {str(report)!r} is a folder; name a file in it, such as {REPORT_FILE}")
    writable(report.parent)
    candidates = [name.strip() for name in arguments.candidates.split(",") if name.strip()]
    comparison = compare_backbones(config, candidates, budget_seconds=budget, weights=weights)
    document = {**comparison.to_dict(), "report": str(report)}
    write_output(folder / JSON_FILE, plain_json(document, indent=2) + "\n", "make room, or choose another --output")
    comparison.report(report)
    text = f"{comparison_text(comparison)}\nreport: {report}\nnext: {next_command(comparison)}"
    terminal.result(document, text)
    return 0


def _weights(given: list[str]) -> tuple[str | None, dict[str, str]]:
    """The weights of all candidates, if any, and those of single ones by name.

    Raises:
        ConfigError: a candidate has two, or there are two for all.
    """
    found: dict[str | None, str] = {}
    for name, value in map(network_weights, given):
        if name in found:
            raise ConfigError(f"--weights: {name or 'all candidates'} can have only one of {found[name]} and {value}")
        found[name] = value
    return found.get(None), {name: value for name, value in found.items() if name is not None}
