"""The flags that choose an engine, the same for every command that serves; loads no engine."""

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
        help="auto uses bf16 where the hardware supports it; int8 needs --engine openvino and --calibration",
    )
    engine.add_argument(
        "--calibration",
        type=path_argument,
        metavar="DIR",
        help="for int8: image folder with a valid split",
    )
    engine.add_argument(
        "--max-accuracy-drop",
        type=float,
        default=default.max_accuracy_drop,
        metavar="SHARE",
        help=f"int8 is refused if it costs more validation accuracy (0 to 1) (default: {default.max_accuracy_drop})",
    )


def engine_choice(arguments: argparse.Namespace) -> EngineChoice:
    """The engine that the flags select.

    Raises:
        ConfigError: they don't fit together.
    """
    return EngineChoice(
        arguments.engine, arguments.precision, arguments.calibration, max_accuracy_drop=arguments.max_accuracy_drop
    )
