"""`breedclf sagemaker ACTION`: what concerns an account of Amazon's and not one job in it."""

from __future__ import annotations

import argparse

from breedclf.cli import sagemaker_account
from breedclf.cli.console import Console


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True, parser_class=type(parser))
    for name, help_text in sagemaker_account.ACTIONS.items():
        action = actions.add_parser(name, help=help_text, description=help_text, allow_abbrev=False)
        sagemaker_account.add_action(name, action)
        for flag in ("--json", "--quiet", "--debug"):
            action.add_argument(flag, action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)


def run(arguments: argparse.Namespace, console: Console) -> int:
    return sagemaker_account.run_action(arguments, console)
