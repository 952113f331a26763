"""The flags that choose an engine, the same for every command that serves; loads no engine."""

from __future__ import annotations

import argparse

from breedclf.files.paths import path_argument
from breedclf.jobs.endpoints import PRECISIONS, EngineChoice

_ALL_PRECISIONS = tuple(dict.fromkeys(name for names in PRECISIONS.values() for name in names))


def add_engine_flags(parser: argparse.ArgumentParser) -> None:
    """Add `--engine`, `--precision`, `--calibration` and `--max-accuracy-drop`."""
    default = EngineChoice()
    parser.add_argument(
        "--engine", choices=tuple(PRECISIONS), default=default.name, help=f"what computes (default: {default.name})"
    )
    parser.add_argument(
        "--precision",
        choices=_ALL_PRECISIONS,
        default=default.precision,
        help="auto: bf16 where the hardware has it; int8: engine openvino alone, with --calibration",
    )
    parser.add_argument(
        "--calibration",
        type=path_argument,
        metavar="DIR",
        help="for int8: images as a training takes them, with a valid split",
    )
    parser.add_argument(
        "--max-accuracy-drop",
        type=float,
        default=default.max_accuracy_drop,
        metavar="SHARE",
        help=f"int8 is refused when it costs more accuracy on the valid split (default: {default.max_accuracy_drop})",
    )


def engine_choice(arguments: argparse.Namespace) -> EngineChoice:
    """What the flags choose.

    Raises:
        ConfigError: they don't fit each other.
    """
    return EngineChoice(
        arguments.engine, arguments.precision, arguments.calibration, max_accuracy_drop=arguments.max_accuracy_drop
    )
