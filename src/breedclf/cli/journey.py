"""`breedclf journey DIR`: from a dataset to a deployed model, with one page about it."""

from __future__ import annotations

import argparse

from breedclf.backends.registry import backend_names
from breedclf.cli.console import Console
from breedclf.cli.flags import add_data_argument, add_settings_flags, training_config
from breedclf.config import TrainingConfig
from breedclf.config.groups import TRAINING_GROUPS
from breedclf.files.paths import path_argument
from breedclf.journey.journey import Journey, JourneyResult
from breedclf.journey.settings import STEPS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_data_argument(parser)
    parser.add_argument("--config", type=path_argument, metavar="FILE", help="settings from a YAML, TOML or JSON file")
    parser.add_argument("--backend", metavar="|".join(backend_names()), default="inline", help="where jobs run")
    parser.add_argument("--output", type=path_argument, metavar="DIR", dest="folder", help="(default: runs/journey)")
    parser.add_argument("--from", metavar="STEP", dest="first", help=f"repeat from this step: {', '.join(STEPS)}")
    parser.add_argument("--only", metavar="STEP", help="repeat this step alone")
    parser.add_argument("--keep", action="store_true", help="keep the endpoint in service")
    parser.add_argument("--store", type=path_argument, metavar="DIR", help="folder of the models")
    parser.add_argument("--name", metavar="NAME", help="name of the model")
    parser.add_argument("--no-verify", action="store_false", dest="verify", help="don't measure the profiler's advice")
    add_settings_flags(parser, TrainingConfig, TRAINING_GROUPS, leave_out=["data", "output", "resume", "profile"])


def run(arguments: argparse.Namespace, console: Console) -> int:
    given = {"output": arguments.folder, "store": arguments.store, "name": arguments.name}
    settings = {name: value for name, value in given.items() if value is not None}
    journey = Journey(
        training_config(arguments), backend=arguments.backend, keep=arguments.keep, verify=arguments.verify, **settings
    )
    result = journey.run(
        first=arguments.first, only=arguments.only, progress=lambda step, line: console.note(f"{step}: {line}")
    )
    console.result(result.to_dict(), _text(result))
    return 0


def _text(result: JourneyResult) -> str:
    lines = [f"{step.name:10} {step.seconds:7.1f} s  {step.outcome.headline}" for step in result.steps]
    return "\n".join([*lines, f"page: {result.report}", f"{result.seconds:.1f} s"])
