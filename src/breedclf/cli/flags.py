"""Flags generated from a settings model: one per field, with the same name, validated by the model itself."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from breedclf.config import Settings, TrainingConfig
from breedclf.errors import ConfigError
from breedclf.files.s3_uri import is_s3, whole_uri
from breedclf.tuning.flag_values import network_weights, parse_parameter
from breedclf.tuning.space import Parameter


def add_data_argument(parser: argparse.ArgumentParser) -> None:
    """Add the dataset, which `--config` can name instead."""
    parser.add_argument(
        "data",
        metavar="DIR|TABLE",
        nargs="?",
        default=argparse.SUPPRESS,
        help="image folder, or table (.csv, .parquet)",
    )


def add_settings_flags(
    parser: argparse.ArgumentParser,
    model: type[Settings],
    groups: Mapping[str, Iterable[str]],
    *,
    leave_out: Iterable[str] = (),
) -> None:
    """Add `--field-name` for every field in the groups, by title; a flag that isn't given sets no attribute."""
    skipped = {*leave_out}
    for title, names in groups.items():
        group = parser.add_argument_group(title)
        for name in names:
            if name not in skipped:
                _add_flag(group, name, model.model_fields[name])


def given_settings(arguments: argparse.Namespace, model: type[Settings]) -> dict[str, Any]:
    """The fields that the command line sets, by name."""
    return {name: value for name, value in vars(arguments).items() if name in model.model_fields}


def training_config(
    arguments: argparse.Namespace, *, environment: Mapping[str, str] | None = None, **defaults: Any
) -> TrainingConfig:
    """Settings from defaults, the file of `--config`, the environment and the flags; later ones win.

    If they name code of your own, modules in the current folder can be imported from then on, as with `python -m`.

    Raises:
        ConfigError: a setting is wrong, or none of them gives `data`.
    """
    path: Path | None = getattr(arguments, "config", None)
    from_file = TrainingConfig.values_in_file(path) if path else {}
    from_environment = TrainingConfig.environment(environment)
    settings = {**defaults, **from_file, **from_environment, **given_settings(arguments, TrainingConfig)}
    config = TrainingConfig(**settings)
    if config.data is None:
        raise ConfigError("setting 'data' is required: give the image folder or the table")
    import_from_here(config)
    return config


def add_network_weights(parser: argparse.ArgumentParser) -> None:
    """Add `--weights`, which also takes those of one network."""
    networks = parser.add_argument_group("weights")
    networks.add_argument(
        "--weights",
        action="append",
        metavar="WEIGHTS|NAME=FILE",
        dest="network_weights",
        default=[],
        help="as for train; or the weights of one network in the search, for each of them (repeatable)",
    )


def take_weights(arguments: argparse.Namespace) -> dict[str, str]:
    """The weights by network; those for all networks become the setting of that name, as if only they were given."""
    by_network: dict[str, str] = {}
    for text in arguments.network_weights:
        name, file = network_weights(text)
        if name is None:
            arguments.weights = file
        else:
            by_network[name] = file
    return by_network


def take_space(arguments: argparse.Namespace) -> dict[str, Parameter]:
    """The flags with ranges and lists, removed from the arguments."""
    space: dict[str, Parameter] = {}
    for name, value in list(vars(arguments).items()):
        parameter = parse_parameter(name, value) if isinstance(value, str) else None
        if parameter is not None:
            space[name] = parameter
            delattr(arguments, name)
    return space


def import_from_here(config: TrainingConfig) -> None:
    """Let the code of your own that the settings name be imported from the current folder, as with `python -m`.

    The folder is the last one of `sys.path`, so that no file in it is imported in place of an installed module.
    """
    here = str(Path.cwd())
    if config.own_code and here not in sys.path:
        sys.path.append(here)


def data_arguments(config: TrainingConfig) -> str:
    """The dataset of these settings as it is given to commands that read it on this machine."""
    if config.data is not None and is_s3(config.data):
        return f"DIR, where DIR is a copy of {whole_uri(config.data)}"
    return str(config.data) + ("" if config.labels is None else f" --labels {config.labels}")


def _add_flag(group: argparse._ArgumentGroup, name: str, field: FieldInfo) -> None:
    flag = "--" + name.replace("_", "-")
    default = "" if field.is_required() or field.default is None else f" (default: {_shown(field.default)})"
    text = ((field.description or "") + default).replace("%", "%%")
    if field.annotation is bool:
        group.add_argument(flag, action=argparse.BooleanOptionalAction, default=argparse.SUPPRESS, help=text)
    elif get_origin(field.annotation) is Literal:
        choices = "|".join(str(choice) for choice in get_args(field.annotation))
        group.add_argument(flag, metavar=choices, default=argparse.SUPPRESS, help=text)
    else:
        group.add_argument(flag, metavar=name.rpartition("_")[2].upper(), default=argparse.SUPPRESS, help=text)


def _shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
