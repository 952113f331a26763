"""Command-line flags that choose an engine, shared by all commands that serve; loads no engine."""

from __future__ import annotations

import argparse

from breedclf.files.paths import path_argument
from breedclf.jobs.endpoints import PRECISIONS, EngineChoice

_ALL_PRECISIONS = tuple(dict.fromkeys(name for names in PRECISIONS.values() for name in names))


def add_engine_flags(parser: argparse.ArgumentParser) -> None:
    """Add `--engine`, `--precision`, `--calibration` and `--max-accuracy-drop`."""
    default = EngineChoice()
    engine = parser.add_argument_group("engine")
    engine.add_argument(
        "--engine", choices=tuple(PRECISIONS), default=default.name, help=f"inference engine (default: {default.name})"
    )
    engine.add_argument(
        "--precision",
        choices=_ALL_PRECISIONS,
        default=default.precision,
        help="auto: bf16 if the hardware is faster in it; int8: only with --engine openvino and --calibration",
    )
    engine.add_argument(
        "--calibration",
        type=path_argument,
        metavar="DIR",
        help="for int8: a dataset with a valid split",
    )
    engine.add_argument(
        "--max-accuracy-drop",
        type=float,
        default=default.max_accuracy_drop,
        metavar="SHARE",
        help=f"refuse int8 if it loses more accuracy on the valid split (default: {default.max_accuracy_drop})",
    )


def engine_choice(arguments: argparse.Namespace) -> EngineChoice:
    """The engine chosen by the flags.

    Raises:
        ConfigError: the flags are inconsistent.
    """
    return EngineChoice(
        arguments.engine, arguments.precision, arguments.calibration, max_accuracy_drop=arguments.max_accuracy_drop
    )
