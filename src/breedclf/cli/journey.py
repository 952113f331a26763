"""`breedclf journey DIR`: from a dataset to a deployed model, with one page about it."""

from __future__ import annotations

import argparse
from typing import Any

from breedclf.backends.registry import backend_names
from breedclf.cli.flags import (
    add_data_argument,
    add_network_weights,
    add_settings_flags,
    take_space,
    take_weights,
    training_config,
)
from breedclf.cli.terminal import Terminal
from breedclf.config import TrainingConfig
from breedclf.config.groups import TRAINING_GROUPS
from breedclf.files.paths import path_argument
from breedclf.journey.journey import Journey
from breedclf.journey.plan import JourneyPlan
from breedclf.journey.result import JourneyResult
from breedclf.journey.settings import SEED_GRID, STEPS, JourneySettings

_GRIDS = {"seed": SEED_GRID}
_EPILOG = """
A setting is searched if its value is a range or a list, as for breedclf tune: --learning-rate 0.005:0.01 --epochs 2,3.
Each step is recorded when it is done; the same command continues a journey that was interrupted. The file of --config
describes a journey: training settings under training, the search under space, and the other names of this help.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "%(prog)s [DIR|TABLE] [OPTION ...]"
    parser.epilog = _EPILOG
    add_data_argument(parser)
    parser.add_argument("--config", type=path_argument, metavar="FILE", help="a journey as a YAML, TOML or JSON file")
    parser.add_argument("--backend", metavar="|".join(backend_names()), default="inline", help="where jobs run")
    parser.add_argument("--output", type=path_argument, metavar="DIR", dest="folder", help="(default: runs/journey)")
    steps = parser.add_argument_group("steps")
    steps.add_argument("--from", metavar="STEP", dest="first", help=f"repeat from this step: {', '.join(STEPS)}")
    steps.add_argument("--only", metavar="STEP", help="repeat this step alone")
    steps.add_argument("--dry-run", action="store_true", help="only show what would run, how long and at what cost")
    search = parser.add_argument_group("search")
    search.add_argument(
        "--grid", choices=list(_GRIDS), help="search this grid: seed has 12 trials, and is searched by default"
    )
    search.add_argument(
        "--strategy",
        metavar="grid|random|bayesian",
        default=argparse.SUPPRESS,
        help="(default: grid, or bayesian if there is a range)",
    )
    search.add_argument("--max-jobs", type=int, metavar="N", default=argparse.SUPPRESS, help="maximum number of trials")
    search.add_argument("--search-seed", type=int, metavar="N", default=argparse.SUPPRESS, help="seed of the search")
    backbones = parser.add_argument_group("backbones")
    backbones.add_argument(
        "--candidates", metavar="A,B", default=argparse.SUPPRESS, help="networks to compare; the best is searched with"
    )
    backbones.add_argument("--budget", metavar="TIME", help="time for comparing them, such as 90s, 20m or 1h")
    profile = parser.add_argument_group("profile")
    profile.add_argument(
        "--verify",
        action=argparse.BooleanOptionalAction,
        default=argparse.SUPPRESS,
        help="measure whether the profiler's advice helps (default: yes)",
    )
    profile.add_argument(
        "--verify-seconds",
        type=float,
        metavar="S",
        default=argparse.SUPPRESS,
        help="how long that may take (default: 90)",
    )
    gate = parser.add_argument_group("gate")
    gate.add_argument(
        "--baseline", metavar="SHARE", help="accuracy to exceed (default: the share of the most frequent class)"
    )
    gate.add_argument(
        "--max-drop", metavar="SHARE", help="refuse a model that is worse than the live one by more (default: 0)"
    )
    gate.add_argument("--max-megabytes", metavar="MB", help="largest size of the model")
    model = parser.add_argument_group("model and endpoint")
    model.add_argument(
        "--store", type=path_argument, metavar="DIR", default=argparse.SUPPRESS, help="folder of the models"
    )
    model.add_argument("--name", metavar="NAME", default=argparse.SUPPRESS, help="name of the model")
    model.add_argument("--endpoint", metavar="NAME", default=argparse.SUPPRESS, help="name of the endpoint")
    model.add_argument(
        "--keep",
        action=argparse.BooleanOptionalAction,
        default=argparse.SUPPRESS,
        help="keep the endpoint in service (default: no)",
    )
    model.add_argument(
        "--images", type=int, metavar="N", default=argparse.SUPPRESS, help="test images to predict (default: 3)"
    )
    add_settings_flags(
        parser, TrainingConfig, TRAINING_GROUPS, leave_out=["data", "output", "resume", "profile", "weights"]
    )
    add_network_weights(parser)


def run(arguments: argparse.Namespace, terminal: Terminal) -> int:
    journey = Journey(journey_settings(arguments), backend=arguments.backend)
    if arguments.dry_run:
        plan = journey.plan(first=arguments.first, only=arguments.only)
        terminal.result(plan.to_dict(), _plan_text(plan, journey))
        return 0
    terminal.note(f"output: {journey.settings.output} (if this is interrupted, the same command continues it)")
    result = journey.run(
        first=arguments.first, only=arguments.only, progress=lambda step, line: terminal.note(f"{step}: {line}")
    )
    terminal.result(result.to_dict(), _text(result))
    return 0


def journey_settings(arguments: argparse.Namespace) -> JourneySettings:
    """Settings from the file of `--config`, the environment and the flags; later ones win.

    Raises:
        ConfigError: a setting is wrong.
    """
    values: dict[str, Any] = {} if arguments.config is None else JourneySettings.values_in_file(arguments.config)
    arguments.config = None
    weights = take_weights(arguments)
    space = take_space(arguments) or _GRIDS.get(arguments.grid)
    values["training"] = training_config(arguments, **values.get("training", {}))
    values |= _given(arguments)
    values["gate"] = values.get("gate", {}) | _given_gate(arguments)
    if space is not None:
        values["space"] = space
    if weights:
        values["weights"] = {**values.get("weights", {}), **weights}
    return JourneySettings(**values)


def _given(arguments: argparse.Namespace) -> dict[str, Any]:
    """The settings of the journey itself that the command line sets."""
    in_file = ("training", "space", "weights", "gate", "output", "budget_seconds")
    given = {
        name: value
        for name, value in vars(arguments).items()
        if name in JourneySettings.model_fields and name not in in_file
    }
    if arguments.folder is not None:
        given["output"] = arguments.folder
    if arguments.budget is not None:
        from breedclf.backbones.budget import budget_in_seconds

        given["budget_seconds"] = budget_in_seconds(arguments.budget)
    return given


def _given_gate(arguments: argparse.Namespace) -> dict[str, str]:
    names = ("baseline", "max_drop", "max_megabytes")
    return {name: value for name in names if (value := getattr(arguments, name)) is not None}


def _plan_text(plan: JourneyPlan, journey: Journey) -> str:
    return f"{plan}\noutput: {journey.settings.output}\nnothing was started"


def _text(result: JourneyResult) -> str:
    lines = [f"{step.name:10} {step.seconds:7.1f} s  {step.outcome.headline}" for step in result.steps]
    shown = [word for step in result.steps for word in (f"{step.name}:", f"  {step.python}", f"  {step.command}")]
    return "\n".join([*lines, "", "each step alone:", *shown, "", f"page: {result.report}", f"{result.seconds:.1f} s"])
