"""`breedclf models ACTION`: models with versions in a folder."""

from __future__ import annotations

import argparse

from breedclf.cli.common import add_common_options
from breedclf.cli.models import compare, promote, push, sagemaker, stored
from breedclf.cli.terminal import Terminal
from breedclf.files.paths import path_argument
from breedclf.model_store.store import DEFAULT_STORE, ModelStore

_ACTIONS = {
    **stored.READING,
    "compare": compare.ACTION,
    **promote.ACTIONS,
    **stored.CHANGING,
    "push": push.ACTION,
    "push-sagemaker": sagemaker.ACTION,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True, parser_class=type(parser))
    for name, each in _ACTIONS.items():
        text = each.help
        action = actions.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.", allow_abbrev=False)
        each.add_arguments(action)
        action.add_argument(
            "--store",
            type=path_argument,
            default=DEFAULT_STORE,
            metavar="DIR",
            help=f"folder of the models (default: {DEFAULT_STORE})",
        )
        add_common_options(action)


def run(arguments: argparse.Namespace, terminal: Terminal) -> int:
    _ACTIONS[arguments.action].run(ModelStore(arguments.store), arguments, terminal)
    return 0
