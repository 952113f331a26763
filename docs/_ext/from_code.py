"""Directives that generate tables from the code: the settings of a model, the flags of a command, the errors."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from importlib import import_module
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from docutils import nodes
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from breedclf import errors
from breedclf.cli import COMMANDS
from breedclf.config import TrainingConfig

_BOUNDS = {"ge": "from {}", "gt": "above {}", "le": "to {}", "lt": "and below {}"}
_ON_EVERY_COMMAND = {"--help", "--json", "--quiet", "--debug"}
_TYPES = {int: "integer", float: "number", bool: "boolean", str: "string", Path: "path"}


def settings_table(model: type[BaseModel]) -> str:
    """A row for each field: name, type, default and description."""
    rows = [
        (f"`{name}`", _takes(field), _default(field), _cell(field.description or ""))
        for name, field in model.model_fields.items()
    ]
    return _table(("setting", "type", "default", "description"), rows)


def command_table(command: str) -> str:
    """A command's own arguments; the flags for settings are summarized in one sentence."""
    parser = argparse.ArgumentParser(add_help=False)
    import_module(f"breedclf.cli.{command}").add_arguments(parser)
    rows, settings = [], 0
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, parser_of_action in action.choices.items():
                rows.append((f"`{name}`", _cell(_help_of(action, name))))
                rows += [
                    (f"`{name}` {_cell(_usage(own))}", _cell(own.help or ""))
                    for own in parser_of_action._actions
                    if not set(own.option_strings) & _ON_EVERY_COMMAND
                ]
        elif action.option_strings and action.dest in TrainingConfig.model_fields and action.default == "==SUPPRESS==":
            settings += 1
        else:
            rows.append((_cell(_usage(action)), _cell(action.help or "")))
    text = _table(("argument", "description"), rows)
    if settings > 1:
        text += "\n\nIn addition, one flag for each of the [settings](configuration.md)."
    return text


def errors_table() -> str:
    """Every error that breedclf raises deliberately, with the exit code of the command line."""
    rows = [
        (f"`{'· ' * depth}{error.__name__}`", str(error.exit_code), _cell((error.__doc__ or "").splitlines()[0]))
        for depth, error in _family(errors.BreedclfError)
    ]
    return _table(("error", "exit code", "when"), rows)


def _family(error: type[errors.BreedclfError], depth: int = 0) -> Iterable[tuple[int, type[errors.BreedclfError]]]:
    yield depth, error
    for child in error.__subclasses__():
        yield from _family(child, depth + 1)


def _takes(field: FieldInfo) -> str:
    kinds = [kind for kind in (field.annotation, *get_args(field.annotation)) if kind is not NoneType]
    if get_origin(field.annotation) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(field.annotation))
    kind = next((_TYPES[kind] for kind in kinds if isinstance(kind, type) and kind in _TYPES), "string")
    bounds = [
        template.format(f"{value:,}")
        for rule in field.metadata
        for name, template in _BOUNDS.items()
        if (value := getattr(rule, name, None)) is not None and abs(value) < 2**62
    ]
    return " ".join([kind, *bounds])


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if field.default_factory is not None or field.default == "":
        return ""  # the description says it
    if field.default is None:
        return "none"
    return f"`{str(field.default).lower() if isinstance(field.default, bool) else field.default}`"


def _usage(action: argparse.Action) -> str:
    value: Any = action.metavar or (f"{{{','.join(map(str, action.choices))}}}" if action.choices else "")
    if not action.option_strings:
        return f"`{value or action.dest.upper()}{'...' if action.nargs == '+' else ''}`"
    shown = "" if action.nargs == 0 or isinstance(action, argparse.BooleanOptionalAction) else value
    return f"`{'`, `'.join(action.option_strings)} {shown or ''}".rstrip() + "`"


def _help_of(action: argparse._SubParsersAction[Any], name: str) -> str:
    return next((choice.help or "" for choice in action._choices_actions if choice.dest == name), "")


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("%%", "%").replace("|", r"\|")


class _Settings(SphinxDirective):
    """`{settings} breedclf.config.TrainingConfig`"""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        module, _, name = self.arguments[0].rpartition(".")
        return self.parse_text_to_nodes(settings_table(getattr(import_module(module), name)))


class _Command(SphinxDirective):
    """`{command} train`"""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        command = self.arguments[0]
        summary = COMMANDS[command]
        return self.parse_text_to_nodes(f"{summary[0].upper()}{summary[1:]}.\n\n{command_table(command)}")


class _Errors(SphinxDirective):
    """`{errors}`"""

    def run(self) -> list[nodes.Node]:
        return self.parse_text_to_nodes(errors_table())


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.add_directive("settings", _Settings)
    app.add_directive("command", _Command)
    app.add_directive("errors", _Errors)
    return {"parallel_read_safe": True}
