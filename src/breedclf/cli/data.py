"""`breedclf data check|get`: what is wrong with a folder of pictures, and published pictures to begin with."""

from __future__ import annotations

import argparse
from pathlib import Path

from breedclf.cli import EXIT_PROBLEMS_FOUND
from breedclf.cli.console import Console


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    check = actions.add_parser("check", help="decode every picture and list what is wrong; writes nothing into DIR")
    check.add_argument("folder", metavar="DIR", type=Path, help="folder with train/, or with the class folders")
    check.add_argument("--fresh", action="store_true", help="read every file again, also those that haven't changed")
    check.add_argument("--tiny-px", type=int, default=32, metavar="PX", help="report smaller pictures (default: 32)")
    check.add_argument("--cache-dir", type=Path, metavar="DIR", help="where to remember (default: the platform's)")
    for action in (check,):
        _take_common_options(action)


def run(arguments: argparse.Namespace, console: Console) -> int:
    return _check(arguments, console)


def _check(arguments: argparse.Namespace, console: Console) -> int:
    from breedclf.learning.doctor import check
    from breedclf.learning.doctor.words import as_text

    examination = check(
        arguments.folder,
        tiny_px=arguments.tiny_px,
        cache_dir=arguments.cache_dir,
        fresh=arguments.fresh,
        quiet=console.quiet,
    )
    console.result(examination.model_dump(mode="json"), as_text(examination))
    return 0 if examination.clean else EXIT_PROBLEMS_FOUND


def _take_common_options(parser: argparse.ArgumentParser) -> None:
    """The options of every verb, also behind the action's name; absent, they leave what stood before it."""
    for flag, text in (
        ("--json", "print one JSON document on stdout"),
        ("--quiet", "no progress on stderr"),
        ("--debug", "show the traceback of an error"),
    ):
        parser.add_argument(flag, action="store_true", default=argparse.SUPPRESS, help=text)
